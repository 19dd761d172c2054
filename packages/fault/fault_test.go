package fault_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
)

func TestCodeOf_survivesWrapping(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("assign: %w", fault.New(fault.Conflict, "package %s is retired", "hello"))
	require.Equal(t, fault.Conflict, fault.CodeOf(err))
	require.True(t, fault.Is(err, fault.Conflict))
	require.EqualError(t, err, "assign: package hello is retired")

	require.Equal(t, fault.Internal, fault.CodeOf(errors.New("boom")))
	require.Equal(t, fault.Code(""), fault.CodeOf(nil))
	require.False(t, fault.Is(nil, fault.Internal))
}

func TestWrap_keepsTheCause(t *testing.T) {
	t.Parallel()
	err := fault.Wrap(fs.ErrNotExist, fault.NotFound, "no archive %q", "a.zip")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.EqualError(t, err, `no archive "a.zip": file does not exist`)
	require.Equal(t, "body.name", fault.Field("body.name", "is empty").Field)
}

func TestRetryable_onlyWhatMayPass(t *testing.T) {
	t.Parallel()
	for code, want := range map[fault.Code]bool{
		fault.Unavailable: true, fault.TooMany: true, fault.Internal: true,
		fault.Invalid: false, fault.Untrusted: false, fault.Unauthenticated: false, fault.Conflict: false,
	} {
		require.Equal(t, want, fault.Retryable(fault.New(code, "x")), code)
	}
}

func TestStatus_roundTrip(t *testing.T) {
	t.Parallel()
	for _, code := range []fault.Code{fault.Invalid, fault.Unauthenticated, fault.Forbidden, fault.NotFound, fault.Conflict,
		fault.TooLarge, fault.Unsupported, fault.Untrusted, fault.TooMany, fault.Unavailable, fault.Internal} {
		require.Equal(t, code, fault.FromStatus(fault.Status(code)))
	}
	require.Equal(t, 500, fault.Status("unheard"))
	require.Equal(t, fault.Unavailable, fault.FromStatus(502))
	require.Equal(t, fault.Unsupported, fault.FromStatus(405))
}
