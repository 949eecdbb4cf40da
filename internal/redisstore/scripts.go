package redisstore

import (
	"context"
	_ "embed"
	"slices"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed set.lua
	setSource string
	//go:embed expire.lua
	expireSource string
	//go:embed delete.lua
	deleteSource string
	//go:embed keep.lua
	keepSource string
	//go:embed advance.lua
	advanceSource string
	//go:embed lockforever.lua
	lockForeverSource string
	//go:embed extend.lua
	extendSource string
	//go:embed pass.lua
	passSource string
	//go:embed notify.lua
	notifySource string
	//go:embed enter.lua
	enterSource string
	//go:embed leave.lua
	leaveSource string
	//go:embed fence.lua
	fenceSource string
	//go:embed holders.lua
	holdersSource string
)

var (
	sources = map[string]string{} // by SHA-1

	setScript         = load(setSource)
	expireScript      = load(expireSource)
	deleteScript      = load(deleteSource)
	keepScript        = load(keepSource)
	advanceScript     = load(advanceSource)
	lockForeverScript = load(lockForeverSource)
	extendScript      = load(extendSource)
	passScript        = load(passSource)
	notifyScript      = load(notifySource)
	enterScript       = load(enterSource)
	leaveScript       = load(leaveSource)
	fenceScript       = load(fenceSource)
	holdersScript     = load(holdersSource)
)

// load gives the SHA-1 under which Redis knows a script.
func load(source string) string {
	sha := redis.NewScript(source).Hash()
	sources[sha] = source
	return sha
}

// scriptArgs gives the arguments of an EVALSHA. A nil head is left out, which the scripts take for "always".
func scriptArgs(sha string, keys []string, argv ...any) []any {
	args := make([]any, 0, 4+len(keys)+len(argv)) // one more for a head
	args = append(args, "evalsha", sha, len(keys))
	for _, key := range keys {
		args = append(args, key)
	}
	return append(args, argv...)
}

func withHead(args []any, head []byte) []any {
	if head == nil {
		return args
	}
	return append(args, head)
}

// runScripts is exec for commands made of scriptArgs. A server that does not know a script, since it was restarted or
// its scripts were flushed, gets the script itself in a second round trip.
func (s *Store) runScripts(ctx context.Context, calls ...redis.Cmder) error {
	if err := s.exec(ctx, calls...); err != nil {
		return err
	}
	var again []redis.Cmder
	for _, call := range calls {
		if unknown(call) {
			again = append(again, inFull(call))
		}
	}
	if again == nil {
		return nil
	}
	return s.exec(ctx, again...)
}

// runInOrder is runScripts for commands that build on one another: what comes after a script that the server did not know
// is repeated too.
func (s *Store) runInOrder(ctx context.Context, calls ...redis.Cmder) error {
	if err := s.exec(ctx, calls...); err != nil {
		return err
	}
	first := slices.IndexFunc(calls, unknown)
	if first < 0 {
		return nil
	}
	for _, call := range calls[first:] {
		inFull(call)
	}
	return s.exec(ctx, calls[first:]...)
}

func unknown(call redis.Cmder) bool {
	err := call.Err()
	return err != nil && redis.HasErrorPrefix(err, "NOSCRIPT")
}

// inFull makes a call of a script carry the script itself. Other commands it leaves as they are.
func inFull(call redis.Cmder) redis.Cmder {
	if args := call.Args(); args[0] == "evalsha" {
		args[0], args[1] = "eval", sources[args[1].(string)]
	}
	call.SetErr(nil)
	return call
}
