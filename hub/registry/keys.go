package registry

import (
	"context"
	"fmt"
	"time"

	"penstock.dev/penstock/hub/catalog"
)

// macLife is how long a CDN-Loop MAC key is the current one; it is accepted for as long again (HOPS-AND-RETRIES A.3:
// rotated daily, two keys valid).
const macLife = 24 * time.Hour

// openKey decodes keys/<purpose>.
func (r *Registry) openKey(rec catalog.Record) ([]byte, error) {
	plain, err := r.cfg.Sealer.Open(rec.Key, rec.Value)
	if err != nil {
		return nil, fmt.Errorf("registry: open %s: %w; this replica needs the key ring of the others", rec.Key, err)
	}
	return plain, nil
}

// HopKeys are the trust domain's keys for hop.NewKeys: the domain key of pseudonyms, and the current and previous MAC
// keys of CDN-Loop; previous is nil in the first day of a catalog. OnChange tells of a rotation. The caller must not
// print them.
func (r *Registry) HopKeys() (domain, current, previous []byte, err error) {
	domain, ok := r.keys.get(purposeDomain)
	sealed, found := r.keys.get(purposeMAC)
	if !ok || !found {
		return nil, nil, nil, refuse(Unavailable, "the trust domain's keys cannot be read", "give this replica the key ring of the others (keyring.file)")
	}
	mac, err := decode[macRecord](catalog.Record{Key: catalog.PurposeKey(purposeMAC), Value: sealed})
	if err != nil {
		return nil, nil, nil, err
	}
	return domain, mac.Current, mac.Previous, nil
}

// rotateMAC makes a new current key once the old one has had its day. Another replica may have done it meanwhile: then
// the commit fails, and all is well.
func (r *Registry) rotateMAC(ctx context.Context) error {
	key := catalog.PurposeKey(purposeMAC)
	rec, err := r.cfg.Catalog.Get(ctx, key)
	if err != nil {
		return stored("read "+key, err)
	}
	plain, err := r.openKey(rec)
	if err != nil {
		return err
	}
	mac, err := decode[macRecord](catalog.Record{Key: key, Value: plain})
	if err != nil {
		return err
	}
	now := time.Now()
	if now.Sub(mac.Rotated) < macLife {
		return nil
	}
	sealed, err := r.cfg.Sealer.Seal(key, encode(macRecord{Current: random(32), Previous: mac.Current, Rotated: now}))
	if err != nil {
		return fmt.Errorf("registry: seal %s: %w", key, err)
	}
	_, err = r.cfg.Catalog.Commit(ctx, catalog.Op{Key: key, Value: sealed, If: rec.Revision})
	if err != nil {
		return stored("store "+key, err)
	}
	r.log.Info("rotated the CDN-Loop key")
	return nil
}
