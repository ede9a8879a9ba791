//go:build !linux

package pressure

// Meter knows GOMEMLIMIT alone: cgroups and a cheap count of descriptors are
// Linux's.
type Meter struct{ goes *goLimit }

// NewMeter makes a Meter.
func NewMeter() *Meter { return &Meter{newGoLimit()} }

// Read takes a look.
func (m *Meter) Read() Reading { return Reading{Memory: m.goes.read()} }

// Close does nothing.
func (*Meter) Close() {}
