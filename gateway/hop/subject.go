package hop

// Proof is how a spoke proved a workload's identity; a stronger one meets a weaker demand.
type Proof string

// The proofs, weakest first; "" is none.
const (
	ProofNone   Proof = ""
	ProofIP     Proof = "ip"
	ProofToken  Proof = "token"
	ProofSPIFFE Proof = "spiffe"
)

// rank is -1 for a proof that this version does not know.
func (p Proof) rank() int {
	switch p {
	case ProofNone:
		return 0
	case ProofIP:
		return 1
	case ProofToken:
		return 2
	case ProofSPIFFE:
		return 3
	}
	return -1
}

// Meets reports whether p is at least as strong as want. An unknown demand is never met, an unknown proof meets none.
func (p Proof) Meets(want Proof) bool { return want.rank() >= 0 && p.rank() >= want.rank() }

// Subject is a workload as a spoke proved it. The zero value is nobody.
type Subject struct {
	// Cluster of origin, as a certificate says: at the first hub the spoke's own, behind it what that hub vouches for.
	// A spoke leaves it empty; a hub refuses a spoke that sends one.
	Cluster        string
	Namespace      string
	ServiceAccount string
	Pod            string // uid
	Proof          Proof
}

// Members of Penstock-Subject.
const (
	memberNamespace      = "ns"
	memberServiceAccount = "sa"
	memberPod            = "pod"
	memberProof          = "m"
	memberCluster        = "cl"
)

// maxName bounds each name of a subject: a DNS subdomain's length.
const maxName = 253

// parseSubject reads Penstock-Subject; named says that it has a cl member.
func parseSubject(text string) (s Subject, named bool, err error) {
	members, err := parseDict(text)
	if err != nil {
		return Subject{}, false, refuse(Malformed, "%s: %v", headerSubject, err)
	}
	var seen seenKeys
	for _, m := range members {
		var to *string
		switch m.key {
		case memberNamespace:
			to = &s.Namespace
		case memberServiceAccount:
			to = &s.ServiceAccount
		case memberPod:
			to = &s.Pod
		case memberCluster:
			to, named = &s.Cluster, true
		case memberProof:
			s.Proof = Proof(m.value.text)
			if m.value.kind != sfToken || s.Proof.rank() < 1 {
				return Subject{}, false, refuse(Malformed, "%s: %s is not ip, token or spiffe", headerSubject, m.key)
			}
		default:
			continue
		}
		if seen.again(m.key) {
			return Subject{}, false, refuse(Malformed, "%s: %s stands twice", headerSubject, m.key)
		}
		if to == nil {
			continue
		}
		if m.value.kind != sfString || m.value.text == "" || len(m.value.text) > maxName {
			return Subject{}, false, refuse(Malformed, "%s: %s is not a string of 1 to %d characters", headerSubject, m.key, maxName)
		}
		*to = m.value.text
	}
	if s.Proof == ProofNone {
		return Subject{}, false, refuse(Malformed, "%s: no %s: an identity without proof", headerSubject, memberProof)
	}
	return s, named, nil
}

// field is the value of Penstock-Subject; "" for nobody, and for names that cannot be written, which are then nobody at
// the next gateway too.
func (s Subject) field() string {
	if s.Proof.rank() < 1 {
		return ""
	}
	var b []byte
	for _, m := range [...]struct{ key, name string }{
		{memberNamespace, s.Namespace},
		{memberServiceAccount, s.ServiceAccount},
		{memberPod, s.Pod},
		{memberCluster, s.Cluster},
	} {
		if m.name == "" {
			continue
		}
		if !printable(m.name) || len(m.name) > maxName {
			return ""
		}
		b = append(append(b, m.key...), '=')
		b = append(appendString(b, m.name), ", "...)
	}
	return string(append(append(b, memberProof+"="...), s.Proof...))
}

// seenKeys finds a known member that is written twice. RFC 9651 lets the last one win; of two budgets or identities none
// is to be believed.
type seenKeys struct {
	keys [8]string
	n    int
}

func (s *seenKeys) again(key string) bool {
	for _, k := range s.keys[:s.n] {
		if k == key {
			return true
		}
	}
	s.keys[s.n] = key // at most as many as there are known members
	s.n++
	return false
}
