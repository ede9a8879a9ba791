package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// Refusal is the error of an action that did what it should and found that what
// it was given is wrong. The caller gets its text with 422. It is not logged
// here: the action has done that, where it knows more.
type Refusal struct{ Err error }

func (r *Refusal) Error() string { return r.Err.Error() }
func (r *Refusal) Unwrap() error { return r.Err }

// Action does one thing that an operator asks for. arg returns what the caller
// gave with a name, "" for nothing. It ends with ctx.
type Action func(ctx context.Context, arg func(name string) string) error

// argsLogged are the arguments of actions that the log shows. What else a caller
// sends may be a secret.
var argsLogged = [...]string{"backend", "mode"}

// loggedArgs are those that were given, as the log shows them.
func loggedArgs(args *fasthttp.Args) (out []any) {
	for _, name := range argsLogged {
		if v := args.Peek(name); len(v) > 0 {
			out = append(out, name, clip(v))
		}
	}
	return out
}

func (s *Server) actionNames() []string { return slices.Sorted(maps.Keys(s.opt.Actions)) }

// serveAction runs an action for a caller on a unix socket. The order of the
// checks is the order of what a caller has to change: the door, the verb, the name.
func (s *Server) serveAction(ctx *fasthttp.RequestCtx, g *guard, name string) {
	if !g.unix {
		text(ctx, fasthttp.StatusForbidden, "actions are taken only over a unix socket, whose file mode says who may; "+
			"set admin.socket to unix:/path and use curl --unix-socket")
		return
	}
	if !ctx.IsPost() {
		ctx.Response.Header.Set("Allow", "POST")
		text(ctx, fasthttp.StatusMethodNotAllowed, "an action changes something, so it is asked for with POST")
		return
	}
	run := s.opt.Actions[name]
	if run == nil {
		text(ctx, fasthttp.StatusNotFound, fmt.Sprintf("there is no action %.40q; there are: %s", name, strings.Join(s.actionNames(), ", ")))
		return
	}
	if !s.action.TryLock() {
		ctx.Response.Header.Set("Retry-After", "1")
		text(ctx, fasthttp.StatusConflict, "another action is running; ask again when it is over")
		return
	}
	defer s.action.Unlock()

	limit, cancel := context.WithTimeout(s.ctx, s.opt.ActionTimeout)
	defer cancel()
	arg := func(name string) string { return string(ctx.QueryArgs().Peek(name)) }
	s.opt.Log.Info("action asked for", append([]any{"action", name}, loggedArgs(ctx.QueryArgs())...)...)
	if err := run(limit, arg); err != nil {
		status := fasthttp.StatusInternalServerError
		if _, ok := errors.AsType[*Refusal](err); ok {
			status = fasthttp.StatusUnprocessableEntity
		} else {
			s.opt.Log.Error("action failed", "action", name, "error", err)
			if errors.Is(err, context.DeadlineExceeded) {
				status = fasthttp.StatusGatewayTimeout
			}
		}
		text(ctx, status, name+" failed: "+err.Error())
		return
	}
	text(ctx, fasthttp.StatusOK, name+": done")
}
