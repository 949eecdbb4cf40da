package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// asMain makes the test binary run main: so the tests have the real program without building it again.
const asMain = "NIGHTLY_TEST_AS_MAIN"

// patience bounds everything that a test waits for.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(asMain) == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestSchedule(t *testing.T) {
	at := func(s string) time.Time {
		t.Helper()
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, test := range []struct {
		at    string
		every time.Duration
		now   string
		want  string
	}{
		{at: "03:00", now: "2026-11-22T01:00:00Z", want: "2026-11-22T03:00:00Z"},
		{at: "03:00", now: "2026-11-22T02:59:59.999Z", want: "2026-11-22T03:00:00Z"},
		{at: "03:00", now: "2026-11-22T03:00:00Z", want: "2026-11-23T03:00:00Z"},
		{at: "03:00", now: "2026-12-31T23:00:00Z", want: "2027-01-01T03:00:00Z"},
		{at: "00:00", now: "2026-11-22T00:00:01Z", want: "2026-11-23T00:00:00Z"},
		{at: "23:59", now: "2026-11-22T01:00:00+02:00", want: "2026-11-21T23:59:00Z"},
		{every: 2 * time.Second, now: "2026-11-22T03:00:01Z", want: "2026-11-22T03:00:02Z"},
		{every: 90 * time.Minute, now: "2026-11-22T00:00:00Z", want: "2026-11-22T01:30:00Z"},
	} {
		s, err := config{at: test.at, every: test.every}.schedule()
		if err != nil {
			t.Error(err)
		}
		if got := s.next(at(test.now)); !got.Equal(at(test.want)) {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

// A fleet is some instances over one store, in one bubble of fake time, which begins at midnight UTC.
type fleet struct {
	store     cachify.Store
	takes     time.Duration      // that a run takes
	fails     func(run int) bool // says whether the n-th run of a night fails, from 1
	instances sync.WaitGroup

	mu        sync.Mutex
	runner    int // the instance that ran the job last
	begun     map[time.Time]int
	succeeded map[time.Time]int
}

func newFleet(takes time.Duration, fails func(run int) bool) *fleet {
	return &fleet{store: cachify.Memory(), takes: takes, fails: fails, begun: make(map[time.Time]int), succeeded: make(map[time.Time]int)}
}

// start starts an instance with this number, until ctx ends.
func (f *fleet) start(ctx context.Context, t *testing.T, number int) {
	t.Helper()
	client := cachify.New(f.store, nil)
	s, err := daily("03:00")
	if err != nil {
		t.Fatal(err)
	}
	i, err := newInstance(client, s, time.Minute, slog.New(slog.DiscardHandler), func(ctx context.Context, night Night) error {
		return f.job(ctx, night.Due, number)
	})
	if err != nil {
		t.Fatal(err)
	}
	f.instances.Go(func() {
		i.run(ctx)
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (f *fleet) job(ctx context.Context, night time.Time, number int) error {
	f.mu.Lock()
	f.runner = number
	f.begun[night]++
	run := f.begun[night]
	f.mu.Unlock()
	if err := sleep(ctx, f.takes); err != nil {
		return err
	}
	if f.fails(run) {
		return errors.New("the database is down")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.succeeded[night]++
	return nil
}

// check checks how often the job began and succeeded in each night, of which there were so many.
func (f *fleet) check(t *testing.T, nights, begun, succeeded int) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.begun) != nights {
		t.Errorf("the job ran in %d nights, want %d", len(f.begun), nights)
	}
	for night, n := range f.begun {
		if n != begun || f.succeeded[night] != succeeded {
			t.Errorf("on %v the job began %d times and succeeded %d times, want %d and %d", night, n, f.succeeded[night], begun, succeeded)
		}
	}
}

func never(int) bool { return false }

func TestOnceANight(t *testing.T) {
	twice := func(run int) bool { return run <= 2 }
	for name, test := range map[string]struct {
		takes time.Duration
		fails func(run int) bool
		begun int
	}{
		"short":         {0, never, 1},
		"long":          {5 * time.Hour, never, 1},
		"fails at once": {0, twice, 3},
		"fails later":   {10 * time.Second, twice, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const nights, instances = 7, 5
				ctx, cancel := context.WithTimeout(t.Context(), nights*24*time.Hour)
				defer cancel()
				f := newFleet(test.takes, test.fails)
				for number := range instances {
					f.start(ctx, t, number)
				}
				f.instances.Wait()
				f.check(t, nights, test.begun, 1)
			})
		})
	}
}

// An instance that is stopped in the middle of the job leaves it to one that stands by.
func TestStoppedInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(40*time.Second, never)
		var stops []context.CancelFunc
		for number := range 3 {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			stops = append(stops, stop)
			f.start(ctx, t, number)
		}
		time.Sleep(3*time.Hour + 30*time.Second)
		f.check(t, 1, 1, 0)
		stops[f.runner]()
		time.Sleep(time.Hour)
		f.check(t, 1, 2, 1)
		for _, stop := range stops {
			stop()
		}
		f.instances.Wait()
	})
}

// A process is the program itself in a process of its own.
type process struct {
	cmd *exec.Cmd
	log io.Reader
}

func startProcess(t *testing.T, redisURL string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asMain+"=1", "REDIS_URL="+redisURL)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return &process{cmd, log}
}

// A report is what a process has logged of a night.
type report struct{ night, outcome string }

var (
	reported = regexp.MustCompile(`the job is done night=(\S+) outcome="ran (here|elsewhere)"`)
	failed   = regexp.MustCompile(`ERROR|WARN`)
)

// reports passes on what the processes log, until all of them have ended.
func reports(t *testing.T, fleet []*process) <-chan report {
	c := make(chan report)
	var readers sync.WaitGroup
	for _, p := range fleet {
		readers.Go(func() {
			for lines := bufio.NewScanner(p.log); lines.Scan(); {
				if m := reported.FindStringSubmatch(lines.Text()); m != nil {
					c <- report{m[1], m[2]}
				} else if failed.MatchString(lines.Text()) {
					t.Error(lines.Text())
				}
			}
		})
	}
	go func() { readers.Wait(); close(c) }()
	return c
}

// TestProcesses runs several real processes on one Redis until the job has run in some nights. Then they are told to stop, and
// must end without an error.
func TestProcesses(t *testing.T) {
	const processes, nights = 4, 6
	server := redistest.Start(t)
	var fleet []*process
	for range processes {
		fleet = append(fleet, startProcess(t, "redis://"+server.Addr(), "-every", "300ms", "-takes", "20ms"))
	}
	ended, seen, ran := reports(t, fleet), map[string]bool{}, map[string]int{}
	tooLong := time.After(patience)
	for stop := sync.OnceFunc(func() { signalAll(t, fleet) }); ; {
		var r report
		more := false
		select {
		case r, more = <-ended:
		case <-tooLong:
			t.Fatalf("after %v the job has run in %d nights", patience, len(ran))
		}
		if !more {
			break
		}
		seen[r.night] = true
		if r.outcome == "here" {
			ran[r.night]++
		}
		if len(ran) == nights {
			stop()
		}
	}
	for _, p := range fleet {
		if err := p.cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	last := slices.Max(slices.Collect(maps.Keys(ran))) // of later ones a process may have seen the beginning alone
	for night := range seen {
		if night <= last && ran[night] != 1 {
			t.Errorf("the job ran %d times in the night of %s", ran[night], night)
		}
	}
	t.Logf("%d processes saw %d nights, and ran the job in %d of them", processes, len(seen), len(ran))
}

func signalAll(t *testing.T, fleet []*process) {
	t.Helper()
	for _, p := range fleet {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
}

func TestBadSettings(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  config
		want string
	}{
		"at":      {config{at: "25:00"}, "-at"},
		"every":   {config{every: -1}, "-every"},
		"takes":   {config{at: "03:00", takes: -1}, "-takes"},
		"standby": {config{every: time.Second, standBy: time.Second}, "-standby"},
		"redis":   {config{at: "03:00", redisURL: "http://:secret@localhost:6379"}, "REDIS_URL"},
		"port":    {config{at: "03:00", redisURL: "redis://:secret@localhost:port"}, "REDIS_URL"},
	} {
		err := run(t.Context(), test.cfg, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
