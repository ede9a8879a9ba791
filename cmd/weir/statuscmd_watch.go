package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a terminal that can be drawn on.
type terminal struct {
	f     *os.File
	color bool
	was   *unix.Termios // before enter
}

// enter takes the other screen. Keys are not echoed into it. NOFLSH keeps what is
// written when Ctrl-C comes: without it the kernel throws away what nobody has
// read yet, after it has sent the signal, and with it what leave writes.
func (t *terminal) enter() error {
	was, err := unix.IoctlGetTermios(int(t.f.Fd()), getTermios)
	if err != nil {
		return err
	}
	is := *was
	is.Lflag = is.Lflag&^unix.ECHO | unix.NOFLSH
	if err := unix.IoctlSetTermios(int(t.f.Fd()), setTermios, &is); err != nil {
		return err
	}
	t.was = was
	_, err = t.f.WriteString(enterScreen)
	return err
}

// leave gives the terminal back as it was.
func (t *terminal) leave() error {
	_, err := t.f.WriteString(leaveScreen)
	if t.was != nil {
		err = errors.Join(err, unix.IoctlSetTermios(int(t.f.Fd()), setTermios, t.was))
		t.was = nil
	}
	return err
}

func (t *terminal) ask() (width, height int, err error) {
	s, err := unix.IoctlGetWinsize(int(t.f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0, err
	}
	return int(s.Col), int(s.Row), nil
}

// size is the terminal's own, or the usual one where it does not know: a serial
// line says 0.
func (t *terminal) size() (width, height int) {
	width, height, err := t.ask()
	if err != nil || width <= 0 || height <= 0 {
		return screenWidth, screenHeight
	}
	return width, height
}

// watchTick is the time between two pages. weir's own list of sockets is not newer.
const watchTick = time.Second

// watchStatus draws v, and what comes after it, on the terminal's other screen
// until ctx ends or the terminal cannot be written. A weir that stops answering is
// said and asked again: who watches a restart wants to see its end. The screen
// that was there before is restored in any case.
func watchStatus(ctx context.Context, door *statusDoor, term *terminal, v *statusView) (err error) {
	resized, stopped := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	signal.Notify(stopped, syscall.SIGTSTP)
	defer signal.Stop(stopped)
	defer func() { err = errors.Join(err, term.leave()) }()
	if err := term.enter(); err != nil {
		return err
	}

	tick := time.NewTicker(watchTick)
	defer tick.Stop()
	for {
		width, height := term.size()
		if _, err := term.f.WriteString(redraw(render(v, width, height), term.color, width, height)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-resized:
		case <-stopped: // Ctrl-Z: the shell gets its screen, and we ours when we go on
			if err := term.suspend(ctx); err != nil {
				return err
			}
		case <-tick.C:
			if err := v.next(ctx, door); err != nil {
				return err
			}
		}
	}
}

// next asks for the next page, and keeps the old one if there is no answer.
func (v *statusView) next(ctx context.Context, door *statusDoor) error {
	_, page, err := door.read(ctx)
	v.now = time.Now()
	switch lost, gone := errors.AsType[unreachable](err); {
	case ctx.Err() != nil:
	case gone:
		v.lost = lost.error
	case err != nil:
		return err
	default:
		v.rates = ratesOf(v.page, page, v.now.Sub(v.at).Seconds())
		v.page, v.at, v.lost = page, v.now, nil
	}
	return nil
}

// suspend stops the process, as Ctrl-Z wants, and returns when it goes on.
func (t *terminal) suspend(ctx context.Context) error {
	if err := t.leave(); err != nil {
		return err
	}
	// This thread runs on for a moment after the signal.
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGCONT)
	defer signal.Stop(again)
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGSTOP); err != nil {
		return err
	}
	select {
	case <-again:
	case <-ctx.Done():
	}
	return t.enter()
}
