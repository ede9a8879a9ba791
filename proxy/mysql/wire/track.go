package wire

// Track is the kind of a change that the server tells in an OK.
type Track uint8

const (
	TrackVariable    Track = 0 // a system variable: name and new value
	TrackSchema      Track = 1 // the default database
	TrackState       Track = 2 // "1": something else of the session changed
	TrackGTIDs       Track = 3 // of the transaction that was committed
	TrackTransaction Track = 4 // the statement that would start the next transaction alike
	TrackTrxState    Track = 5 // eight letters, see IdleTransaction
	trackUnknown     Track = 255
)

// Tracks walks the session-track data of an OK:
//
//	for tr := (Tracks{Data: ok.Track}); tr.Next(); {
//		// tr.Kind, tr.Name, tr.Value
//	}
//
// Check Err after it: what could not be read is unknown, so the session has to
// be taken as changed in every way. It allocates only if it fails.
type Tracks struct {
	Data []byte // what is left

	Kind  Track
	Name  []byte // of the variable
	Value []byte // may be empty: a NULL comes as an empty string
	Err   error

	vars []byte // of the current TrackVariable entry
}

// Next goes to the next change; false at the end or a fault. Kinds that this
// package does not know are passed over by their length.
func (t *Tracks) Next() bool {
	for t.Err == nil {
		if len(t.vars) > 0 {
			if t.variable() {
				return true
			}
			break
		}
		if len(t.Data) == 0 {
			break
		}
		f := fields{b: t.Data, packet: "session-track data"}
		kind := f.lenenc("type")
		data := f.text(len(t.Data), "entry")
		t.Data, t.Err = t.Data[f.at:], f.err
		if t.Err == nil && kind < uint64(trackUnknown) && t.entry(Track(kind), data) {
			return true
		}
	}
	t.Name, t.Value = nil, nil
	return false
}

// entry takes one entry; false if there is nothing in it to return.
func (t *Tracks) entry(kind Track, data []byte) bool {
	t.Kind, t.Name, t.Value = kind, nil, nil
	f := fields{b: data, packet: "session-track data"}
	switch kind {
	case TrackVariable:
		t.vars = data
		return false
	case TrackGTIDs:
		// The encoding comes first; 0, a string, is the only one there is.
		if e := f.u8("GTID encoding"); f.err == nil && e != 0 {
			return false
		}
	case TrackState:
		t.Value = data // the one that has no length of its own
		return true
	case TrackSchema, TrackTransaction, TrackTrxState:
	default:
		return false
	}
	t.Value = f.text(len(data), "value")
	t.Err = f.err
	return t.Err == nil
}

// variable takes one name and value. MariaDB and MySQL send one pair in an
// entry; the format allows more.
func (t *Tracks) variable() bool {
	f := fields{b: t.vars, packet: "session-track data"}
	t.Kind = TrackVariable
	t.Name = f.text(len(t.vars), "variable's name")
	t.Value = f.text(len(t.vars), "variable's value")
	t.vars, t.Err = t.vars[f.at:], f.err
	return t.Err == nil
}

// IdleTransaction says whether the value of a TrackTrxState entry means that
// there is no transaction, nothing read or written in one, and no table locked.
// A value of another form is taken as busy.
func IdleTransaction(value []byte) bool { return string(value) == "________" }

// AppendSchema appends the session-track data that say that the default database
// is name.
func AppendSchema(dst []byte, name string) []byte {
	dst = append(dst, byte(TrackSchema))
	dst = AppendLenenc(dst, uint64(len(AppendLenenc(nil, uint64(len(name))))+len(name)))
	return appendText(dst, name)
}
