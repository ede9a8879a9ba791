package lex

import (
	"strings"
	"testing"
)

var benchTexts = []struct{ name, sql string }{
	{"short", "SELECT 1"},
	{"point select", "SELECT c FROM sbtest1 WHERE id = 5023"},
	{"framework", "SELECT `users`.`id`, `users`.`name`, COUNT(DISTINCT `o`.`id`) AS n FROM `users` LEFT JOIN `orders` AS `o` ON `o`.`user_id` = `users`.`id` WHERE `users`.`role` IN ('admin', 'editor') AND `o`.`at` > NOW() - INTERVAL 1 DAY GROUP BY 1, 2 ORDER BY n DESC LIMIT 20"},
	{"10 KiB string", "INSERT INTO t (a) VALUES ('" + strings.Repeat("lorem ipsum ", 850) + "')"},
}

func BenchmarkScan(b *testing.B) {
	for _, test := range benchTexts {
		b.Run(test.name, func(b *testing.B) {
			sql := []byte(test.sql)
			b.SetBytes(int64(len(sql)))
			for b.Loop() {
				if Scan(sql, true)&Unknown != 0 {
					b.Fatal(test.sql)
				}
			}
		})
	}
}

func BenchmarkKill(b *testing.B) {
	for _, test := range []struct{ name, sql string }{{"other", benchTexts[1].sql}, {"kill", "KILL QUERY 12345"}} {
		b.Run(test.name, func(b *testing.B) {
			sql := []byte(test.sql)
			for b.Loop() {
				if _, ok := Kill(sql); ok != (test.name == "kill") {
					b.Fatal(test.sql)
				}
			}
		})
	}
}

func BenchmarkDigest(b *testing.B) {
	for _, test := range benchTexts {
		b.Run(test.name, func(b *testing.B) {
			sql, dst := []byte(test.sql), make([]byte, 0, 1024)
			b.SetBytes(int64(len(sql)))
			for b.Loop() {
				dst = Digest(dst[:0], sql, 1024)
			}
		})
	}
}
