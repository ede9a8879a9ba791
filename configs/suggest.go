package configs

import (
	"slices"
	"strings"
)

// suggest returns the word of known that a misspelt one most likely meant, ""
// if none is near. Near is one edit for each three letters; among words equally
// near the one that shares the most letters wins.
func suggest(word string, known []string) string {
	if len(word) > 40 {
		return ""
	}
	word = strings.ToLower(strings.ReplaceAll(word, "-", "_"))
	best, least, most := "", (len(word)+1)/3+1, -1
	for _, k := range known {
		d := distance(word, k)
		if shared := sharedLetters(word, k); d < least || d == least && best != "" && shared > most {
			best, least, most = k, d, shared
		}
	}
	return best
}

// distance counts the edits from a to b: a letter put in, taken out, changed,
// or swapped with its neighbour (Levenshtein's distance with transpositions).
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(last[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// sharedLetters counts the letters a and b have in common, wherever they are.
func sharedLetters(a, b string) int {
	left, n := []byte(b), 0
	for _, c := range []byte(a) {
		if i := slices.Index(left, c); i >= 0 {
			left = slices.Delete(left, i, i+1)
			n++
		}
	}
	return n
}

// nearestKeys returns the paths of the keys of that name that stand the fewest
// blocks away from the block at path, whose indexes count for nothing.
func nearestKeys(path, key string) (near []string) {
	var here []string
	for _, block := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' }) {
		name, _, _ := strings.Cut(block, "[")
		here = append(here, name)
	}
	least := 0
	for _, p := range KeyPaths() {
		if p != key && !strings.HasSuffix(p, "."+key) {
			continue
		}
		there := strings.Split(strings.ReplaceAll(p, "[]", ""), ".")
		same := 0
		for same < len(here) && same < len(there) && here[same] == there[same] {
			same++
		}
		switch away := len(here) + len(there) - 2*same; {
		case near == nil || away < least:
			near, least = []string{p}, away
		case away == least:
			near = append(near, p)
		}
	}
	return near
}
