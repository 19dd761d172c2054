package deploy_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/deploy"
)

func TestHTTP(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		mux := http.NewServeMux()
		deploy.NewAPI(e.svc).Register(humago.New(mux, api.Config("1")))
		dev, pkg := e.addDevice(false), e.addPackage("App", 5)
		gone := e.putPackage(deploy.Package{Name: "Gone", State: deploy.PackageRetired})
		a := e.assign(pkg, dev)
		d := e.of(dev, pkg)
		e.run(d, protocol.StateFailed, protocol.ReasonExitCode, 7)
		for _, tc := range []struct {
			method, path, body string
			status             int
			contains           string
		}{
			{"GET", "/deployments?device_id=" + dev + "&open=false", "", 200, "failed (exit code 7)"},
			{"GET", "/deployments?open=true", "", 200, `"items":[]`},
			{"GET", "/deployments?state=exploded", "", 400, "state"},
			{"GET", "/deployments?cursor=x", "", 400, "cursor"},
			{"GET", "/deployments/" + d.ID, "", 200, `"timeline":[{"seq":1`},
			{"GET", "/deployments/nope", "", 404, "not_found"},
			{"POST", "/deployments/" + d.ID + "/cancel", "", 409, "over already: failed (exit code 7)"},
			{"POST", "/deployments/" + d.ID + "/retry", "", 200, `"attempt":2`},
			{"POST", "/deployments/" + d.ID + "/retry", "", 409, "under way"},
			{"POST", "/assignments", `{"package_id":"` + pkg.ID + `","device_ids":["` + dev + `"]}`, 201, `"device_count":0`},
			{"POST", "/assignments", `{"package_id":"` + gone.ID + `","all":true}`, 409, "is retired"},
			{"POST", "/assignments", `{"package_id":"` + pkg.ID + `"}`, 400, "device_ids"},
			{"POST", "/assignments", `{"all":true}`, 400, "package_id"},
			{"GET", "/assignments?package_id=" + pkg.ID, "", 200, a.ID},
			{"GET", "/assignments/" + a.ID, "", 200, d.ID},
			{"GET", "/assignments/nope", "", 404, "not_found"},
			{"DELETE", "/assignments/" + a.ID, "", 204, ""},
			{"GET", "/deployments/" + d.ID, "", 200, `"state":"unassigned"`},
			{"DELETE", "/assignments/nope", "", 404, "not_found"},
		} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body)))
			require.Equal(t, tc.status, w.Code, "%s %s: %s", tc.method, tc.path, w.Body)
			require.Contains(t, w.Body.String(), tc.contains, "%s %s", tc.method, tc.path)
		}
	})
}
