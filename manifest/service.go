package manifest

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/gateway/route"
)

// service makes the Backend that a port of a Service means, for routes of one Gateway. Its addresses are those of its
// EndpointSlices, in a folder as in a cluster. In both modes a Service stays in its own cluster (DESIGN, How a request is
// addressed).
func (t *translation) service(id ID, number *gwv1.PortNumber, kind string, g *gateway) (*route.Backend, fault) {
	s, ok := lookup[*corev1.Service](t.set, id)
	if !ok {
		return nil, fault{ReasonBackendNotFound, fmt.Sprintf("there is no Service %s", clip(id.Key())), "create it, or correct the name"}
	}
	if number == nil {
		return nil, fault{ReasonUnsupportedValue, "the port of the Service is missing", "write the port's number beside the name"}
	}
	if s.value.Spec.Type == corev1.ServiceTypeExternalName {
		// It would be a way around the address guard (CVE-2021-25740 was one like it).
		return nil, fault{ReasonUnsupportedValue, fmt.Sprintf("Service %s is of type ExternalName", id.Key()), "use a Backend for what lies outside of the cluster"}
	}
	i := slices.IndexFunc(s.value.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == *number })
	if i < 0 {
		return nil, fault{ReasonBackendNotFound, fmt.Sprintf("Service %s has no port %d", id.Key(), *number), "correct the port"}
	}
	port := s.value.Spec.Ports[i]
	if port.Protocol != "" && port.Protocol != corev1.ProtocolTCP {
		return nil, fault{ReasonUnsupportedProtocol, fmt.Sprintf("port %d of Service %s is %s", *number, id.Key(), port.Protocol), "use a TCP port"}
	}
	b := route.Backend{Key: id.Key() + ":" + strconv.Itoa(int(*number)), Via: route.ViaService, Port: int(*number)}
	switch app := deref(port.AppProtocol, ""); app {
	case "kubernetes.io/h2c":
		b.Protocol = string(penstockv1alpha1.BackendProtocolH2C)
	case "kubernetes.io/ws", "kubernetes.io/wss": // GEP-1911: both begin as HTTP/1.1
		b.Protocol = string(penstockv1alpha1.BackendProtocolHTTP11)
	}
	if bad := t.serviceTLS(&b, id, port.Name, g); !bad.ok() {
		return nil, bad
	}
	if kind == "GRPCRoute" && b.Protocol == "" && b.TLS == nil {
		// gRPC is HTTP/2, which without TLS nothing else can tell.
		b.Protocol, b.Key = string(penstockv1alpha1.BackendProtocolH2C), b.Key+"#grpc"
	}
	if made, ok := t.services[b.Key]; ok {
		return made, fault{}
	}
	b.Endpoints = t.endpoints(id, port.Name)
	t.services[b.Key] = &b
	return &b, fault{}
}

// endpoints are the ready addresses of a Service's port, sorted.
func (t *translation) endpoints(service ID, port string) []string {
	if t.slices == nil {
		t.slices = map[ID][]object[*discoveryv1.EndpointSlice]{}
		for _, o := range each[*discoveryv1.EndpointSlice](t.set) {
			of := ID{Kind: "Service", Namespace: o.ID.Namespace, Name: o.value.Labels[discoveryv1.LabelServiceName]}
			t.slices[of] = append(t.slices[of], o)
		}
	}
	var out []string
	for _, o := range t.slices[service] {
		if o.value.AddressType == discoveryv1.AddressTypeFQDN {
			continue // names are not looked up here: a Service's addresses are known
		}
		i := slices.IndexFunc(o.value.Ports, func(p discoveryv1.EndpointPort) bool { return deref(p.Name, "") == port && p.Port != nil })
		if i < 0 {
			continue
		}
		number := strconv.Itoa(int(*o.value.Ports[i].Port))
		for _, e := range o.value.Endpoints {
			if !deref(e.Conditions.Ready, true) {
				continue
			}
			for _, address := range e.Addresses {
				if net.ParseIP(address) != nil {
					out = append(out, net.JoinHostPort(address, number))
				}
			}
		}
	}
	return slices.Compact(sorted(out))
}
