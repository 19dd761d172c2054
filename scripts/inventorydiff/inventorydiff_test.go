package inventorydiff

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const muster = `{"sections":[
{"name":"system","problem":"","rows":[{"key":"system","name":"vm","memory_bytes":25276510208}]},
{"name":"cpus","problem":"","rows":[{"key":"socket-0","name":"Intel(R) Xeon(R)  Processor","cores":2,"threads":2}]},
{"name":"storage","problem":"","rows":[{"key":"vda","name":"vda","device":"/dev/vda","bytes":274877906944}]},
{"name":"interfaces","problem":"","rows":[{"key":"eth0","name":"eth0","mac":"02:fc:00:00:00:01","addresses":["192.0.2.2/24","fd00::2/64"]},{"key":"lo","name":"lo","addresses":["127.0.0.1/8"]}]},
{"name":"software","problem":"","rows":[{"key":"a","name":"curl","version":"7.88","arch":"amd64"},{"key":"b","name":"only-ours","version":"1","arch":"all"}]},
{"name":"from-later","problem":"","rows":[{"key":"x"}]}]}`

const ocs = `<?xml version="1.0" encoding="UTF-8"?><REQUEST><CONTENT>
<HARDWARE><MEMORY>24105</MEMORY></HARDWARE>
<CPUS><TYPE>Intel(R) Xeon(R) Processor</TYPE><CORES>2</CORES><THREADS>2</THREADS></CPUS>
<STORAGES></STORAGES><STORAGES><NAME>vda</NAME><DISKSIZE>274877.906944</DISKSIZE></STORAGES><STORAGES><NAME>zram0</NAME></STORAGES>
<NETWORKS><DESCRIPTION>eth0</DESCRIPTION><IPADDRESS>192.0.2.2</IPADDRESS><MACADDR>02:FC:00:00:00:01</MACADDR></NETWORKS>
<SOFTWARES><NAME>curl:amd64</NAME><VERSION>7.87</VERSION><ARCHITECTURE>amd64</ARCHITECTURE></SOFTWARES>
</CONTENT></REQUEST>`

func TestCompare(t *testing.T) {
	t.Parallel()
	ours, err := Muster(strings.NewReader(muster))
	require.NoError(t, err)
	theirs, err := Foreign(strings.NewReader(ocs))
	require.NoError(t, err)
	require.Empty(t, Compare(ours, ours))
	require.Equal(t, []Difference{
		{KindSoftware, "curl amd64", "7.88", "7.87", ""},
		{KindSoftware, "only-ours all", "1", "", ""},
		{KindDisk, "zram0", "", "0 MB", "a place in memory for swap, not a disk"},
		{KindInterface, "eth0", "02:fc:00:00:00:01 192.0.2.2 fd00::2", "02:fc:00:00:00:01 192.0.2.2", "the other agent keeps one IPv6 address of an interface"},
		{KindInterface, "lo", "127.0.0.1", "", "the other agent leaves the loopback interface out"},
	}, Compare(ours, theirs))
}

func TestForeign_refuses(t *testing.T) {
	t.Parallel()
	_, err := Foreign(strings.NewReader("<REQUEST><CONTENT>"))
	require.Error(t, err)
	_, err = Muster(strings.NewReader("{"))
	require.Error(t, err)
}
