package cli

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/muster/internal/client"
)

func isID(s string) bool {
	_, err := uuid.Parse(s)
	return err == nil && len(s) == 36
}

// findPackage takes an id, a name, or name@version. Of several versions of a name it takes the only one
// in one of the states; it never guesses.
func findPackage(ctx context.Context, api *client.Client, ref string, states ...string) (client.Package, error) {
	if isID(ref) {
		return api.Package(ctx, ref)
	}
	name, version := ref, ""
	if i := strings.LastIndexByte(ref, '@'); i > 0 {
		name, version = ref[:i], ref[i+1:]
	}
	all, err := api.Packages(ctx, url.Values{"q": {name}}, 0)
	if err != nil {
		return client.Package{}, err
	}
	all = slices.DeleteFunc(all, func(p client.Package) bool {
		return !strings.EqualFold(p.Name, name) || (version != "" && p.Version != version)
	})
	found := all
	if len(all) > 1 && len(states) > 0 {
		found = slices.DeleteFunc(slices.Clone(all), func(p client.Package) bool { return !slices.Contains(states, p.State) })
	}
	switch len(found) {
	case 1:
		// Lists may leave out what a single package shows.
		return api.Package(ctx, found[0].ID)
	case 0:
		if len(all) > 0 {
			return client.Package{}, fault.New(fault.NotFound, "no package %q is %s", ref, strings.Join(states, " or "))
		}
		return client.Package{}, fault.New(fault.NotFound, "no package %q; see: muster package list", ref)
	default:
		choices := make([]string, 0, len(found))
		for _, p := range found {
			choices = append(choices, p.Name+"@"+p.Version+" ("+p.State+", "+p.ID+")")
		}
		return client.Package{}, fault.New(fault.Conflict, "%q may be %s: say which, by version or id", ref, strings.Join(choices, ", "))
	}
}

// findDevice takes an id or a host name.
func findDevice(ctx context.Context, api *client.Client, ref string) (client.Device, error) {
	if isID(ref) {
		return api.Device(ctx, ref)
	}
	found, err := api.Devices(ctx, url.Values{"q": {ref}}, 0)
	if err != nil {
		return client.Device{}, err
	}
	found = slices.DeleteFunc(found, func(d client.Device) bool { return !strings.EqualFold(d.Hostname, ref) })
	if len(found) > 1 {
		// A computer that was enrolled anew leaves its revoked or removed identity behind.
		live := slices.DeleteFunc(slices.Clone(found), func(d client.Device) bool { return d.State == "revoked" || d.State == "removed" })
		if len(live) > 0 {
			found = live
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return client.Device{}, fault.New(fault.NotFound, "no device %q; see: muster device list", ref)
	default:
		ids := make([]string, 0, len(found))
		for _, d := range found {
			ids = append(ids, d.ID+" ("+d.State+")")
		}
		return client.Device{}, fault.New(fault.Conflict, "%d devices are called %q: say which id: %s", len(found), ref, strings.Join(ids, ", "))
	}
}

// findGroup takes an id or a name.
func findGroup(ctx context.Context, api *client.Client, ref string) (client.Group, error) {
	if isID(ref) {
		return api.Group(ctx, ref)
	}
	found, err := api.Groups(ctx, url.Values{"q": {ref}}, 0)
	if err != nil {
		return client.Group{}, err
	}
	for _, g := range found {
		if strings.EqualFold(g.Name, ref) {
			return g, nil
		}
	}
	return client.Group{}, fault.New(fault.NotFound, "no group %q; see: muster group list", ref)
}
