package agentapi

import "context"

// Receive takes one message of a device's WebSocket, as the hub hands it on.
func (a *API) Receive(ctx context.Context, deviceID string, data []byte) ([]byte, error) {
	return a.receiver(deviceID)(ctx, data)
}
