package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/hub/registry"
	"penstock.dev/penstock/tunnel"
)

// pathName is the object of a write that has a name in its path.
func pathName(kind string) func(call) string {
	return func(c call) string { return kind + " " + c.PathValue(admin.ParamName) }
}

func (s *Server) clusterRegister() write {
	return write{
		verb: "register", object: func(call) string { return "Cluster" }, status: http.StatusCreated,
		do: func(c call) (any, error) {
			req, err := readJSON[admin.RegisterRequest](c)
			if err != nil {
				return nil, err
			}
			isAbout(c, fmt.Sprintf("Cluster %.63q", req.Name))
			ttl, err := seconds(req.TTLSeconds)
			if err != nil {
				return nil, err
			}
			return s.cfg.Clusters.Register(c.ctx(), registry.Registration{
				Name: req.Name, Labels: req.Labels, Role: tunnel.Role(req.Role), TTL: ttl, Owner: admin.OwnerCLI,
			})
		},
	}
}

func (s *Server) clusterRecover() write {
	return write{verb: "recover", object: pathName("Cluster"), do: func(c call) (any, error) {
		req, err := readJSON[admin.RecoverRequest](c)
		if err != nil {
			return nil, err
		}
		ttl, err := seconds(req.TTLSeconds)
		if err != nil {
			return nil, err
		}
		return s.cfg.Clusters.Recover(c.ctx(), c.PathValue(admin.ParamName), ttl)
	}}
}

// seconds are bounded before they are multiplied; the registry judges what is left.
func seconds(n int64) (time.Duration, error) {
	if n < 0 || n > int64(365*24*time.Hour/time.Second) {
		e := admin.Errorf(http.StatusBadRequest, "ttlSeconds %d is out of range", n)
		e.Remedy = "leave it out for 15 minutes"
		return 0, e
	}
	return time.Duration(n) * time.Second, nil
}

func (s *Server) clusterChange(verb string, change func(context.Context, string) error) write {
	return write{verb: verb, object: pathName("Cluster"), do: func(c call) (any, error) {
		if err := change(c.ctx(), c.PathValue(admin.ParamName)); err != nil {
			return nil, err
		}
		return s.clusterGet(c)
	}}
}

func (s *Server) clusterGet(c call) (any, error) {
	info, err := s.cfg.Clusters.Show(c.ctx(), c.PathValue(admin.ParamName))
	if err != nil {
		return nil, err
	}
	return s.clusterOf(info), nil
}

func (s *Server) clusterList(c call) (any, error) {
	infos, err := s.cfg.Clusters.List(c.ctx())
	if err != nil {
		return nil, err
	}
	return admin.ClusterList{Items: s.clustersOf(infos)}, nil
}

func (s *Server) clustersOf(infos []registry.Info) []admin.Cluster {
	items := make([]admin.Cluster, 0, len(infos))
	for _, info := range infos {
		items = append(items, s.clusterOf(info))
	}
	return items
}

// clusterOf joins what the registry knows of a cluster with who is connected. The states have the same names.
func (s *Server) clusterOf(info registry.Info) admin.Cluster {
	return admin.Cluster{
		Name: info.Name, Role: string(info.Role), Labels: info.Labels, State: string(info.State), SourceIP: info.SourceIP,
		Created: info.Created.UTC(), TokenExpires: info.TokenExpires.UTC(), Instances: s.cfg.Hub.Instances(info.Name),
	}
}

// statusTime bounds what status waits for the catalog.
const statusTime = 2 * time.Second

// status is the hub's, with the clusters, and with the instances that are locked among its problems.
func (s *Server) status(c call) (any, error) {
	st := s.cfg.Hub.Status(c.ctx())
	ctx, cancel := context.WithTimeout(c.ctx(), statusTime)
	defer cancel()
	infos, err := s.cfg.Clusters.List(ctx)
	if err != nil {
		// Status is what one asks for when the catalog is away: the answer is the part that is known.
		st.Reasons = append(st.Reasons, "clusters: "+s.failure(c.Request, err).Message)
		return st, nil
	}
	st.Clusters = s.clustersOf(infos)
	for _, info := range infos {
		for _, i := range info.Instances {
			if i.Locked.IsZero() {
				continue
			}
			st.Problems = append(st.Problems, admin.Finding{
				Object: "Cluster " + info.Name, Reason: "InstanceLocked",
				Message: fmt.Sprintf("instance %s is locked since %s: %s", i.Name, i.Locked.UTC().Format(time.RFC3339), i.Reason),
				Remedy:  fmt.Sprintf("find out who else has its key; then `penstock cluster recover %s`", info.Name),
			})
		}
	}
	return st, nil
}
