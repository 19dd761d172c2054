package proc

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTree_choose tells which processes are part of a tree, and above all which are not.
func TestTree_choose(t *testing.T) {
	t.Parallel()
	proc := func(pid, parent, group int) process {
		return process{identity: identity{pid, 1}, parent: parent, group: group}
	}
	all := []process{
		proc(1, 0, 0), proc(2, 0, 0), proc(3, 2, 0), // init and kernel threads
		proc(50, 1, 50),     // another service
		proc(100, 1, 100),   // this process
		proc(110, 100, 110), // its child
		proc(111, 110, 110), // a grandchild
		proc(112, 111, 112), // a group of its own
		proc(113, 1, 110),   // an orphan in the child's group
		proc(114, 1, 114),   // an orphan that left
		proc(120, 100, 120), // another child
		{identity: identity{130, 1}, parent: 110, group: 110, zombie: true},
	}
	cases := map[string]struct {
		tree tree
		want []int
	}{
		"started process":            {tree{start: 1, root: 110, pid: 110}, []int{110, 111, 112, 113}},
		"runner with its orphans":    {tree{start: 1, root: 100, pid: 110}, []int{110, 111, 112, 113, 120}},
		"children of this process":   {tree{root: 100}, []int{110, 111, 112, 120}},
		"remembered orphan":          {tree{start: 1, root: 110, pid: 110, seen: map[identity]bool{{114, 1}: true}}, []int{110, 111, 112, 113, 114}},
		"pid that was used again":    {tree{start: 1, root: 120, pid: 120, seen: map[identity]bool{{114, 9}: true}}, []int{120}},
		"number that was used again": {tree{start: 7, root: 110, pid: 110, seen: map[identity]bool{{114, 1}: true}}, []int{114}},
		"process that has gone":      {tree{root: 999, pid: 999}, nil},
		"nothing":                    {tree{}, nil},
		"init is nobody's tree":      {tree{root: 1, pid: 1}, nil},
		"remembered init is spared":  {tree{seen: map[identity]bool{{1, 1}: true}}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []int
			for _, p := range tc.tree.choose(all, 100) {
				got = append(got, p.pid)
			}
			require.Equal(t, tc.want, got)
		})
	}
}
