package user

import (
	"context"

	"github.com/muster/muster/packages/fault"
)

// Kinds of actor.
const (
	KindSession = "session" // a person in a browser
	KindToken   = "token"   // a program with an API token
	KindSystem  = "system"  // the server itself
)

// Actor is on whose behalf something happens.
type Actor struct {
	Kind   string
	UserID string
	Name   string
}

type actorKey struct{}

// NewContext makes a request one of the actor.
func NewContext(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// FromContext is the actor of a request; the server itself when there is none.
func FromContext(ctx context.Context) Actor {
	if a, ok := ctx.Value(actorKey{}).(Actor); ok {
		return a
	}
	return Actor{Kind: KindSystem, Name: KindSystem}
}

// Require refuses a request of nobody.
func Require(ctx context.Context) error {
	if _, ok := ctx.Value(actorKey{}).(Actor); !ok {
		return fault.New(fault.Unauthenticated, "log in, or send an API token")
	}
	return nil
}
