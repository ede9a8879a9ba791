package wire

import (
	"strings"
	"testing"
)

func TestCollationsOfLoginsHaveNames(t *testing.T) {
	for id, want := range map[uint16][2]string{
		CollationLatin1:  {"latin1", "latin1_swedish_ci"},
		CollationUTF8MB3: {"utf8mb3", "utf8mb3_general_ci"},
		CollationUTF8MB4: {"utf8mb4", "utf8mb4_general_ci"},
		CollationBinary:  {"binary", "binary"},
		224:              {"utf8mb4", "utf8mb4_unicode_ci"},
		255:              {"utf8mb4", "utf8mb4_0900_ai_ci"},
	} {
		charset, collation, ok := CharsetOf(id)
		if !ok || charset != want[0] || collation != want[1] {
			t.Errorf("%d: %s, %s, %v; want %v", id, charset, collation, ok, want)
		}
	}
	// No such id; ucs2_general_ci and utf16_general_ci, which clients may not have; two bytes.
	for _, id := range []uint16{0, 17, 35, 54, 256, 1270} {
		if charset, _, ok := CharsetOf(id); ok || charset != "" || ASCIIStandsAlone(id) {
			t.Errorf("%d is known as %s", id, charset)
		}
	}
	seen := make(map[string]bool)
	for id, name := range collations {
		charset, collation, ok := CharsetOf(uint16(id))
		if name == "" {
			continue
		}
		if !ok || collation != name || !strings.HasPrefix(name, charset) || seen[name] {
			t.Errorf("%d: %s of %s", id, name, charset)
		}
		seen[name] = true
	}
}

// In gbk the bytes of a character may end in a backslash, so an SQL injection
// hides in what a byte-wise reader takes for an escaped quote.
func TestCharacterSetsWithASCIIInsideOfCharactersAreTold(t *testing.T) {
	for id, want := range map[uint16]bool{
		CollationUTF8MB4: true, CollationUTF8MB3: true, CollationLatin1: true, CollationBinary: true, 24 /* gb2312 */ : true, 12 /* ujis */ : true,
		1 /* big5 */ : false, 28 /* gbk */ : false, 13 /* sjis */ : false, 95 /* cp932 */ : false, 248 /* gb18030 */ : false,
		19 /* euckr */ : false, 10 /* swe7 */ : false,
	} {
		if ASCIIStandsAlone(id) != want {
			t.Errorf("%s: %v", collations[id], !want)
		}
	}
}
