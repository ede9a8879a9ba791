//go:build bench

package bench

// protocol is what the crowd speaks. An implementation remembers nothing: it is
// given all that has come of one answer so far.
type protocol interface {
	// login takes what the server has sent to one who may not ask yet; ok is false
	// where b does not hold all of the next step. Without bytes it says whether
	// there is a login at all.
	login(b []byte) (l login, ok bool, err error)
	// request is what a client sends to ask.
	request(first bool) []byte
	// answer reads the one at the start of b; ok is false where b does not hold all
	// of it.
	answer(b []byte) (a answer, ok bool, err error)
}

// login is a step of one.
type login struct {
	size    int    // of what the server has sent, bytes
	say     []byte // what the client says to it
	done    bool   // it may ask from now on
	refused error  // the server does not let it in, now at least
}

// answer is what a client has to know of one to take the next one.
type answer struct {
	result  int  // fine, another status of HTTP, or the number of a MySQL error
	size    int  // of all of it, bytes
	closing bool // the connection ends with it
}

// fine is the result of an answer that is none of refusal: HTTP's status, and in
// its place for a protocol that has no such number.
const fine = 200
