package storm

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/tcpstat"
)

func options(url string) Options {
	return Options{URL: url, Requests: 300, Concurrency: 8, Mode: ClientCloses, Timeout: 10 * time.Second, Limit: time.Minute, Settle: 200 * time.Millisecond}
}

func TestStormMakesAsManyRequestsAsAsked(t *testing.T) {
	var hits atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		w.Write([]byte("hello"))
	}))
	defer s.Close()
	for _, m := range Modes() {
		hits.Store(0)
		o := options(s.URL + "/x?y")
		o.Mode = m
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Requests != 300 || hits.Load() != 300 || r.Failed() != 0 || r.Latency.Count() != 300 {
			t.Errorf("%s: %d requests, %d seen, %v", m, r.Requests, hits.Load(), r.Errors)
		}
	}
}

func TestClientThatClosesFirstKeepsTimeWaitAtItsEnd(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hello")) }))
	defer s.Close()
	r, err := Run(t.Context(), options(s.URL))
	if err != nil {
		t.Fatal(err)
	}
	if n := r.After.Client[tcpstat.TimeWait]; n < 250 {
		t.Errorf("%d TIME-WAIT at the client's end after 300 connections", n)
	}
}

func TestStormRefusesWhatItShouldNotDo(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"not a loopback address": func(o *Options) { o.URL = "http://192.0.2.1/" },
		"must be http://":        func(o *Options) { o.URL = "ftp://127.0.0.1/" },
		"-n 0":                   func(o *Options) { o.Requests = 0 },
		"-c 20000":               func(o *Options) { o.Concurrency = 20000 },
		"-mode":                  func(o *Options) { o.Mode = "x" },
	} {
		o := options("http://127.0.0.1:1/")
		change(&o)
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	o := options("http://192.0.2.1/")
	if _, err := o.check(context.Background()); !errors.Is(err, ErrRemote) {
		t.Error(err)
	}
}
