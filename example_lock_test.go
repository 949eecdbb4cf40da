package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-cachify/cachify"
)

// One withdrawal at a time for each account, across all processes. Whoever comes meanwhile waits for its turn.
func ExampleLock_Do() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	account := cachify.Must(cachify.NewLock[int64](client, "account-<id>", nil))

	balance, refused := 100, 0
	withdraw := func(ctx context.Context, id int64, amount int) error {
		return account.Do(ctx, id, func(context.Context) error {
			if balance < amount {
				refused++
				return errors.New("not enough money")
			}
			balance -= amount
			return nil
		})
	}
	var customers sync.WaitGroup
	for range 10 {
		customers.Go(func() { _ = withdraw(context.Background(), 7, 15) })
	}
	customers.Wait()
	fmt.Println("left:", balance, "refused:", refused)
	// Output: left: 10 refused: 4
}

// A lease can be held beyond a function. Work under its context: it is cancelled when the lock is lost. Hand its fencing
// token to what the lock protects, so that a holder who has not noticed yet is turned away there.
func ExampleLock_Acquire() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	export := cachify.Must(cachify.NewLock[string](client, "export-<name>", &cachify.LockOptions{Fenced: true}))

	ctx := context.Background()
	lease, err := export.Acquire(ctx, "invoices")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { fmt.Println("released:", lease.Release(ctx)) }() // works whatever has become of ctx
	fence, err := lease.Fence(ctx)
	fmt.Println(lease.Key(), fence > 0, err)

	_ = export.Release(ctx, "invoices") // by an operator who thinks that it has hung
	<-lease.Context().Done()
	fmt.Println("export cancelled:", context.Cause(lease.Context()))

	next, err := export.Acquire(ctx, "invoices")
	if err != nil {
		fmt.Println(err)
		return
	}
	later, _ := next.Fence(ctx)
	fmt.Println("the next token is greater:", later > fence, next.Release(ctx))
	// Output:
	// lock:export-invoices true <nil>
	// export cancelled: cachify: the lock is no longer held
	// the next token is greater: true <nil>
	// released: cachify: the lock is no longer held: lock:export-invoices
}

// TryAcquire does not wait. Holder tells operators who has the lock.
func ExampleLock_TryAcquire() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	migration := cachify.Must(cachify.NewLock[struct{}](client, "migration", &cachify.LockOptions{Label: "release 42"}))

	ctx := context.Background()
	lease, err := migration.TryAcquire(ctx, struct{}{})
	fmt.Println("first:", err)
	_, err = migration.TryAcquire(ctx, struct{}{})
	fmt.Println("second:", errors.Is(err, cachify.ErrLocked))
	holder, held, err := migration.Holder(ctx, struct{}{})
	fmt.Println("held:", held, "by", holder.Label, err)
	fmt.Println("released:", lease.Release(ctx))
	// Output:
	// first: <nil>
	// second: true
	// held: true by release 42 <nil>
	// released: <nil>
}

// Several locks are taken together or not at all, so two transfers between the same accounts can't block one another. On
// Redis Cluster the hash tag in the template keeps those of one bank in one slot.
func ExampleLock_AcquireMany() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	type Account struct{ Bank, Number string }
	accounts := cachify.Must(cachify.NewLock[Account](client, "account-{<bank>}-<number>", nil))

	ctx := context.Background()
	lease, err := accounts.AcquireMany(ctx, []Account{{"b1", "4711"}, {"b1", "0815"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(lease.Keys())
	_, err = accounts.TryAcquire(ctx, Account{"b1", "0815"})
	fmt.Println("one of them alone:", errors.Is(err, cachify.ErrLocked))
	fmt.Println("released:", lease.Release(ctx))
	// Output:
	// [lock:account-{b1}-0815 lock:account-{b1}-4711]
	// one of them alone: true
	// released: <nil>
}

// At most two reports at a time for each tenant, across all processes.
func ExampleSemaphore() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	reports := cachify.Must(cachify.NewSemaphore[string](client, "reports-<tenant>", 2, nil))

	ctx := context.Background()
	first, err := reports.Acquire(ctx, "acme") // waits for a slot if none is free
	fmt.Println("first:", err)
	err = reports.Do(ctx, "acme", func(ctx context.Context) error {
		_, full := reports.TryAcquire(ctx, "acme")
		inUse, err := reports.InUse(ctx, "acme")
		fmt.Println("third:", errors.Is(full, cachify.ErrFull), "in use:", inUse)
		return err
	})
	fmt.Println("second:", err)
	fmt.Println("released:", first.Release(ctx))
	// Output:
	// first: <nil>
	// third: true in use: 2
	// second: <nil>
	// released: <nil>
}

// Who is locked out gets an answer that depends on the arguments.
func ExampleOnce_OnLocked() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	begun, end := make(chan bool), make(chan bool)
	update := cachify.Must(cachify.NewOnce(client, "update_user-<user_id>", func(context.Context, UpdateUser) (Reply, error) {
		begun <- true
		<-end
		return Reply{"updated"}, nil
	}, nil)).OnLocked(func(_ context.Context, args UpdateUser) (Reply, error) {
		return Reply{fmt.Sprintf("user %d is being updated: %s has to wait", args.UserID, args.Name)}, nil
	})

	ctx := context.Background()
	first := make(chan Reply)
	go func() {
		reply, _ := update.Do(ctx, UpdateUser{UserID: 1, Name: "Bea"})
		first <- reply
	}()
	<-begun
	reply, err := update.Do(ctx, UpdateUser{UserID: 1, Name: "Bob"})
	fmt.Println("second:", reply, err)
	end <- true
	fmt.Println("first:", <-first)
	// Output:
	// second: {user 1 is being updated: Bob has to wait} <nil>
	// first: {updated}
}

// With Keep a function runs at most once per TTL, across all processes: an alert is sent once an hour, however often it
// is raised. A run that fails does not count.
func ExampleNewOnce_keep() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	attempts := 0
	alert := cachify.Must(cachify.NewOnce(client, "alert-<name>", func(context.Context, string) (string, error) {
		attempts++
		if attempts == 1 {
			return "", errors.New("the mail server is down")
		}
		return "sent", nil
	}, &cachify.OnceOptions{TTL: time.Hour, Keep: true})).ReturnOnLocked("was sent within the hour")

	ctx := context.Background()
	for range 4 {
		fmt.Println(alert.Do(ctx, "disk full"))
	}
	// Output:
	//  the mail server is down
	// sent <nil>
	// was sent within the hour <nil>
	// was sent within the hour <nil>
}

// With Limit a function runs so many times at once, across all processes.
func ExampleNewOnce_limit() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	begun, end := make(chan bool), make(chan bool)
	resize := cachify.Must(cachify.NewOnce(client, "resize-<tenant>", func(context.Context, string) (string, error) {
		begun <- true
		<-end
		return "resized", nil
	}, &cachify.OnceOptions{Limit: 2})).ReturnOnLocked("try again later")

	ctx := context.Background()
	results := make(chan string)
	for range 2 {
		go func() {
			result, _ := resize.Do(ctx, "acme")
			results <- result
		}()
		<-begun
	}
	fmt.Println(resize.Do(ctx, "acme"))
	close(end)
	fmt.Println(<-results, <-results)
	// Output:
	// try again later <nil>
	// resized resized
}
