package procs

import "testing"

func TestProcessorsFollowTheLoadUpQuicklyAndDownSlowly(t *testing.T) {
	type step struct {
		periods int
		u       used
		want    int // after the last of them
	}
	for _, row := range []struct {
		name  string
		most  int
		steps []step
	}{
		{"nothing to do", 8, []step{{1000, used{}, 1}}},
		{"little to do", 8, []step{{1000, used{ran: 0.94, free: 1}, 1}}},
		{"more than one has time for", 8, []step{{2, used{ran: 0.96, free: 1}, 1}, {1, used{ran: 0.96, free: 1}, 2}}},
		{"a moment's need is none", 8, []step{{2, used{ran: 1, free: 1}, 1}, {1, used{ran: 0.9, free: 1}, 1}, {2, used{ran: 1, free: 1}, 1}}},
		{"the least of three decides", 8, []step{{1, used{ran: 4, free: 1}, 1}, {1, used{ran: 1, free: 1}, 1}, {1, used{ran: 5, free: 1}, 2}}},
		{"all of one, then all of two", 8, []step{{3, used{ran: 1, free: 1}, 2}, {3, used{ran: 2, free: 1}, 3}, {3, used{ran: 3, free: 1}, 4}}},
		{"never more than there are", 2, []step{{10, used{ran: 2, free: 1}, 2}, {10, used{ran: 2, waited: 5}, 2}}},
		{"one is enough on a machine of one", 1, []step{{10, used{ran: 1, waited: 3}, 1}}},
		{"kept for five seconds", 8, []step{{3, used{ran: 3, free: 1}, 4}, {49, used{ran: 0.1, free: 1}, 4}, {1, used{ran: 0.1, free: 1}, 1}}},
		{"the most of the calm decides", 8, []step{{3, used{ran: 3, free: 1}, 4}, {10, used{ran: 0.1, free: 1}, 4}, {1, used{ran: 1, free: 1}, 4}, {39, used{}, 2}}},
		{"a peak ends the calm", 8, []step{{3, used{ran: 3, free: 1}, 4}, {49, used{}, 4}, {1, used{ran: 3, free: 1}, 4}, {49, used{}, 4}, {1, used{}, 1}}},
		{"nothing is free", 8, []step{{100, used{ran: 1, free: 0.2}, 1}, {3, used{ran: 1, free: 0.4}, 2}, {100, used{ran: 2}, 2}}},
		{"crowded out by others", 8, []step{{3, used{ran: 0.2, waited: 0.6}, 2}, {3, used{ran: 0.4, waited: 0.7}, 3}}},
		{"a little late is not crowded out", 8, []step{{100, used{ran: 0.7, waited: 0.69}, 1}, {100, used{ran: 0.1, waited: 0.4}, 1}}},
	} {
		var r rule
		have := 1
		for i, s := range row.steps {
			for range s.periods {
				have = r.next(have, row.most, s.u, 1)
			}
			if have != s.want {
				t.Errorf("%s: %d processors after step %d, want %d", row.name, have, i, s.want)
			}
		}
	}
}
