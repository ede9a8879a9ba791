package tcpstat

// Owner says whose a socket is. In a shared network namespace other processes
// use the same addresses: a sidecar sees all sockets of its pod.
type Owner uint8

const (
	Ours    Owner = iota
	Other         // another process that uses the same address
	Unknown       // may be ours: a dial is under way, or a close is too long ago to tell
	owners
)

// NumOwners is one more than the highest Owner.
const NumOwners = int(owners)

var ownerLabels = [owners]string{"ours", "other", "unknown"}

// Label writes the owner as a metric label.
func (o Owner) Label() string { return ownerLabels[o] }

// Owners returns every Owner, in order, for those who make labels of them.
func Owners() []Owner { return []Owner{Ours, Other, Unknown} }

// Owned holds a number of sockets per Owner and State.
type Owned [NumOwners]Counts

// All is the sum over the owners.
func (o *Owned) All() (c Counts) {
	for i := range o {
		for s, n := range o[i] {
			c[s] += n
		}
	}
	return c
}
