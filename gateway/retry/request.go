package retry

import "time"

// Guards are the state that decisions about one Backend at one gateway replica must respect. One value per Backend
// key, kept as long as the gateway runs, whatever snapshots come and go. The zero value is ready. Safe for concurrent
// use.
type Guards struct {
	Throttle Throttle
	Budget   Budget

	backend  HoldDown // key "": the Backend as a whole
	subjects HoldDown
}

// HoldBackend switches repeats off for everybody: a cap of the Backend refused a request, or a loop was found. d is
// Tmax.
func (g *Guards) HoldBackend(d time.Duration) { g.backend.Hold("", d) }

// HoldSubject switches repeats off for one subject, whose own cap or rate refused a request; a whole Backend's hold
// would let one tenant take the repeats of all others away.
func (g *Guards) HoldSubject(subject string, d time.Duration) { g.subjects.Hold(subject, d) }

// Held reports whether the Backend or this subject is held down.
func (g *Guards) Held(subject string) bool {
	return g.backend.Held("") || g.subjects.Held(subject)
}

// Holding reports whether anybody is held down.
func (g *Guards) Holding() bool { return g.backend.holding() || g.subjects.holding() }

// Begin counts a request of a subject as active. End it.
func (g *Guards) Begin(subject string) *Request {
	g.Budget.Begin()
	return &Request{guards: g, subject: subject}
}

// Request is one request of a workload towards one Backend, over all its attempts. Not safe for concurrent use: it
// belongs to the goroutine that runs the attempts.
type Request struct {
	guards  *Guards
	subject string
	drop    func() // gives the slot of the repeat under way back
	ended   bool
}

// Endpoint decides like the function Endpoint, with HeldDown and BudgetSpent filled in from the guards, and counts the
// failure. A verdict to try again holds a slot of the budget until the next call, Succeeded or End.
//
// An attempt that sent nothing, or that the client gave up, says nothing about the destination: the throttle does not
// count it, and its repeat stands under the limit of connect tries (B.2). A refused stream was sent.
func (r *Request) Endpoint(f EndpointFailure, p Policy, draw float64) Verdict {
	r.release()
	connect := f.Unprocessed && f.Class != RefusedStream
	if !connect && f.Row != 30 {
		r.guards.Throttle.Failure()
	}
	f.HeldDown = f.HeldDown || r.guards.Held(r.subject)
	v := Endpoint(f, p, draw)
	if v.Again && !r.take(connect) {
		f.BudgetSpent = true
		v = Endpoint(f, p, draw)
	}
	return v
}

// Parent decides like the function Parent; repeats stand under the limit of connect tries. A verdict to try again
// holds a slot until the next call, Succeeded or End.
func (r *Request) Parent(f ParentFailure, draw float64) Verdict {
	r.release()
	v := Parent(f, draw)
	if v.Again && !r.take(true) {
		return v.no("too many tries under way")
	}
	return v
}

// Succeeded counts an attempt that needs no repeat: response headers other than a failure's have arrived. What it
// counts stays counted; call it once per request at most.
func (r *Request) Succeeded() {
	r.release()
	r.guards.Throttle.Success()
}

// End takes the request out of the active ones. It may be called more than once.
func (r *Request) End() {
	if r.ended {
		return
	}
	r.ended = true
	r.release()
	r.guards.Budget.End()
}

// take a slot for a repeat: of connect tries when nothing was sent, else of the budget, which the throttle may close.
func (r *Request) take(connect bool) bool {
	b := &r.guards.Budget
	switch {
	case connect && b.TakeConnect():
		r.drop = b.DropConnect
	case !connect && r.guards.Throttle.Allows() && b.TakeRepeat():
		r.drop = b.DropRepeat
	default:
		return false
	}
	return true
}

func (r *Request) release() {
	if r.drop != nil {
		r.drop()
		r.drop = nil
	}
}
