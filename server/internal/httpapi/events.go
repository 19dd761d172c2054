package httpapi

import (
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/server/internal/api"
)

const eventsID = "watch-events"

// eventsOperation describes the live connection, which is no operation of huma's: a WebSocket.
func eventsOperation() *huma.Operation {
	op := &huma.Operation{
		OperationID: eventsID, Method: http.MethodGet, Path: "/events", Tags: []string{"Server"},
		Summary: "Hear what changes (WebSocket)",
		Description: "A WebSocket. Each message is a JSON object like {\"type\":\"deployment\",\"id\":\"…\",\"device_id\":\"…\"," +
			"\"package_id\":\"…\",\"progress\":{\"done\":1,\"total\":2}}: something of the type deployment, device, package, upload or " +
			"enrollment_token has changed, or log lines of a device have arrived (log); fetch it again. Without an id many have. The client has nothing to say.",
		Security: []map[string][]string{{api.SessionScheme: {}}, {api.TokenScheme: {}}},
		Responses: map[string]*huma.Response{
			"101": {Description: "Switching Protocols"},
		},
	}
	for _, status := range []int{400, 401, 403, 500, 503} {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}},
		}}
	}
	return op
}
