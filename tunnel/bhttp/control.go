package bhttp

// checkRequest says what is wrong with a request's control data; "" is nothing. The rules are those of RFC 9113 §8.3.1
// and §8.5, and RFC 8441 §4 for extended CONNECT.
func checkRequest(method, scheme, authority, path, protocol []byte) string {
	if len(method) == 0 || !all(method, token) {
		return "method is not a token"
	}
	connect := string(method) == "CONNECT"
	if len(protocol) > 0 {
		if !connect {
			return ":protocol goes with CONNECT only"
		}
		if !all(protocol, token) {
			return ":protocol is not a token"
		}
	}
	if fault := checkAuthority(authority); fault != "" {
		return fault
	}
	if connect && len(protocol) == 0 {
		if len(scheme) > 0 || len(path) > 0 {
			return "CONNECT has a scheme or a path"
		}
		return ""
	}
	if len(scheme) == 0 || scheme[0] < 'a' || scheme[0] > 'z' || !all(scheme, schemeChar) {
		return "scheme is not one in lower case"
	}
	return checkPath(method, path)
}

// checkAuthority wants host[:port]. Without user information, which RFC 9113 §8.3.1 forbids and RFC 9110 §4.2.4 names as
// a way to deceive readers.
func checkAuthority(authority []byte) string {
	if len(authority) == 0 {
		return "authority is empty"
	}
	if !all(authority, hostChar) {
		return "authority is not host[:port]"
	}
	return ""
}

// checkPath wants an absolute path with query, or "*" with OPTIONS. Bytes from 0x80 up pass: RFC 3986 wants them escaped,
// but enough clients send queries in raw UTF-8, and every proxy relays them.
func checkPath(method, path []byte) string {
	switch {
	case string(path) == "*" && string(method) == "OPTIONS":
		return ""
	case len(path) == 0 || path[0] != '/':
		return `path does not begin with "/"`
	case !all(path, pathChar):
		return "path has a space, a control character or a fragment"
	}
	return ""
}
