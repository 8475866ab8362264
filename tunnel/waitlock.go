package tunnel

// waitLock is a mutual exclusion for sections that wait for the network: unlike a sync.Mutex it can be waited for
// together with other things, and testing/synctest knows that who waits for it is idle. Made by newWaitLock.
type waitLock chan struct{}

func newWaitLock() waitLock { return make(waitLock, 1) }

func (l waitLock) Lock()   { l <- struct{}{} }
func (l waitLock) Unlock() { <-l }

func (l waitLock) TryLock() bool {
	select {
	case l <- struct{}{}:
		return true
	default:
		return false
	}
}
