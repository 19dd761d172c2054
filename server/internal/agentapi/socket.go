package agentapi

import (
	"context"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/hub"
)

// receiver takes the messages of one device's connection. Reports go the same way as those that come
// by HTTPS. An error ends the connection, and the device sends again what was not acknowledged.
func (a *API) receiver(deviceID string) hub.Receiver {
	return func(ctx context.Context, data []byte) ([]byte, error) {
		var m protocol.SocketMessage
		if err := protocol.Unmarshal(data, &m); err != nil {
			a.metrics.refused.WithLabelValues(string(fault.Invalid)).Inc()
			return nil, err
		}
		switch {
		case m.Type == protocol.SocketReports:
			ack, gone, err := a.opt.Reports.Take(ctx, deviceID, m.Reports)
			if err != nil {
				if fault.Is(err, fault.Internal) && ctx.Err() == nil {
					a.opt.Log.Error("take reports", "device", deviceID, "err", err)
				}
				return nil, err
			}
			answer, err := ackMessage(ack)
			if gone && err == nil {
				err = hub.ErrLast
			}
			return answer, err
		case m.Type == protocol.SocketProgress && m.Progress != nil:
			if err := a.opt.Deployments.Progress(ctx, deviceID, *m.Progress); err != nil {
				a.opt.Log.Debug("take progress", "device", deviceID, "err", err) // figures may be lost
			}
		}
		return nil, nil // a message of a newer agent, which this server does not know, is ignored
	}
}
