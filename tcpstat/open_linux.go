package tcpstat

import "fmt"

func open() (*Reader, error) { return openFirst(diagSource, procSource) }

// openFirst takes the better source and, where a sandbox lacks it, the other.
func openFirst(better, other func() (source, error)) (*Reader, error) {
	src, err := better()
	if err == nil {
		return &Reader{src: src}, nil
	}
	src, oerr := other()
	if oerr != nil {
		return nil, fmt.Errorf("no way to list sockets: %w; %w", err, oerr)
	}
	return &Reader{src: src}, nil
}

// A nil *diag in a source would not be a nil source.
func diagSource() (source, error) {
	d, err := openDiag()
	if err != nil {
		return nil, err
	}
	return d, nil
}

func procSource() (source, error) {
	p, err := openProc()
	if err != nil {
		return nil, err
	}
	return p, nil
}
