#!/bin/sh
# A row for each of the directories that take most room. Needs nothing but du, sed, sort and awk.
set -u

# One line of JSON, as {"parameters":{"minimum_bytes":5,"most":9,"path":"/"},"task_id":""}, without spaces. What the
# schema in module.json lets pass is simple enough to be picked out by sed.
read -r input
path=$(printf '%s' "$input" | sed -n 's/.*"path":"\([^"]*\)".*/\1/p')
minimum=$(printf '%s' "$input" | sed -n 's/.*"minimum_bytes":\([0-9][0-9]*\).*/\1/p')
most=$(printf '%s' "$input" | sed -n 's/.*"most":\([0-9][0-9]*\).*/\1/p')

if [ ! -d "$path" ]; then
	echo "there is no directory $path" >&2 # becomes part of why the run failed
	exit 1
fi

# The working directory is the module's own and is removed after the run.
if ! du -kx -- "$path" >sizes 2>errors; then
	echo "{\"problem\":\"$(wc -l <errors | tr -d ' ') directories could not be read\"}" >&3
fi

# A name may hold anything. Control characters go, quotes and backslashes are escaped for JSON.
tr -d '\001-\010\013-\037' <sizes | sed 's/[\\"]/\\&/g' | LC_ALL=C sort -rn | awk -F '\t' -v minimum="$minimum" -v most="$most" '
	/^[0-9]+\t\// && $1 * 1024 >= minimum && !seen[$2]++ && n++ < most {
		depth = $2 == "/" ? 0 : gsub("/", "/", $2)
		name = $2
		sub(".*/", "", name)
		printf "{\"row\":{\"key\":\"%s\",\"name\":\"%s\",\"size\":%.0f,\"depth\":%d}}\n", $2, name, $1 * 1024, depth
	}' >&3
