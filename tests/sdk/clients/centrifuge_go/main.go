// Does with the Go SDK what each line of stdin says, and tells on stdout what happens.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

type event map[string]any

type order struct {
	Do          string            `json:"do"`
	As          string            `json:"as"`
	Number      int               `json:"number"`
	URL         string            `json:"url"`
	Token       string            `json:"token"`
	Renew       []string          `json:"renew"`
	Channel     string            `json:"channel"`
	Channels    []string          `json:"channels"`
	Recoverable bool              `json:"recoverable"`
	JoinLeave   bool              `json:"joinLeave"`
	Data        json.RawMessage   `json:"data"`
	Items       []json.RawMessage `json:"items"`
	Limit       int32             `json:"limit"`
	Reverse     bool              `json:"reverse"`
}

var (
	clients = map[string]*centrifuge.Client{}
	out     = json.NewEncoder(os.Stdout)
	writing sync.Mutex
)

func tell(told, more event) {
	all := event{}
	for key, value := range told {
		all[key] = value
	}
	for key, value := range more {
		all[key] = value
	}
	writing.Lock()
	defer writing.Unlock()
	_ = out.Encode(all)
}

func code(err error) uint32 {
	var refused *centrifuge.Error
	if errors.As(err, &refused) {
		return refused.Code
	}
	return 0
}

func renewing(told event, tokens []string) func() (string, error) {
	return func() (string, error) {
		tell(told, event{"what": "renews"})
		if len(tokens) == 0 {
			return "", centrifuge.ErrUnauthorized
		}
		token := tokens[0]
		tokens = tokens[1:]
		return token, nil
	}
}

func person(info centrifuge.ClientInfo) event {
	return event{"client": info.Client, "user": info.User}
}

func publication(pub centrifuge.Publication) event {
	more := event{"what": "publication", "data": json.RawMessage(pub.Data), "offset": pub.Offset, "tags": pub.Tags}
	if pub.Info != nil {
		more["info"] = person(*pub.Info)
	}
	return more
}

func connect(o order) {
	told := event{"as": o.As}
	config := centrifuge.Config{Token: o.Token, MaxReconnectDelay: time.Second}
	if o.Renew != nil {
		renew := renewing(told, o.Renew)
		config.GetToken = func(centrifuge.ConnectionTokenEvent) (string, error) { return renew() }
	}
	client := centrifuge.NewJsonClient(o.URL, config)
	client.OnConnecting(func(e centrifuge.ConnectingEvent) { tell(told, event{"what": "connecting", "code": e.Code}) })
	client.OnConnected(func(e centrifuge.ConnectedEvent) { tell(told, event{"what": "connected", "client": e.ClientID}) })
	client.OnDisconnected(func(e centrifuge.DisconnectedEvent) {
		tell(told, event{"what": "disconnected", "code": e.Code, "reason": e.Reason})
	})
	client.OnError(func(e centrifuge.ErrorEvent) {
		tell(told, event{"what": "error", "code": code(e.Error), "message": e.Error.Error()})
	})
	client.OnSubscribed(func(e centrifuge.ServerSubscribedEvent) {
		tell(told, event{"what": "subscribed", "channel": e.Channel, "wasRecovering": e.WasRecovering, "recovered": e.Recovered})
	})
	client.OnSubscribing(func(e centrifuge.ServerSubscribingEvent) {
		tell(told, event{"what": "subscribing", "channel": e.Channel})
	})
	client.OnUnsubscribed(func(e centrifuge.ServerUnsubscribedEvent) {
		tell(told, event{"what": "unsubscribed", "channel": e.Channel})
	})
	client.OnPublication(func(e centrifuge.ServerPublicationEvent) {
		tell(event{"as": o.As, "channel": e.Channel}, publication(e.Publication))
	})
	clients[o.As] = client
	_ = client.Connect()
}

func subscribe(o order, channel string) error {
	subscription, is := clients[o.As].GetSubscription(channel)
	if !is {
		told := event{"as": o.As, "channel": channel}
		config := centrifuge.SubscriptionConfig{
			Data: o.Data, Token: o.Token, Recoverable: o.Recoverable, JoinLeave: o.JoinLeave, MaxResubscribeDelay: time.Second,
		}
		if o.Renew != nil {
			renew := renewing(told, o.Renew)
			config.GetToken = func(centrifuge.SubscriptionTokenEvent) (string, error) { return renew() }
		}
		var err error
		if subscription, err = clients[o.As].NewSubscription(channel, config); err != nil {
			return err
		}
		subscription.OnSubscribing(func(e centrifuge.SubscribingEvent) {
			tell(told, event{"what": "subscribing", "code": e.Code})
		})
		subscription.OnSubscribed(func(e centrifuge.SubscribedEvent) {
			tell(told, event{
				"what": "subscribed", "wasRecovering": e.WasRecovering, "recovered": e.Recovered,
			})
		})
		subscription.OnUnsubscribed(func(e centrifuge.UnsubscribedEvent) {
			tell(told, event{"what": "unsubscribed", "code": e.Code, "reason": e.Reason})
		})
		subscription.OnPublication(func(e centrifuge.PublicationEvent) { tell(told, publication(e.Publication)) })
		subscription.OnJoin(func(e centrifuge.JoinEvent) { tell(told, event{"what": "join", "info": person(e.ClientInfo)}) })
		subscription.OnLeave(func(e centrifuge.LeaveEvent) { tell(told, event{"what": "leave", "info": person(e.ClientInfo)}) })
		subscription.OnError(func(e centrifuge.SubscriptionErrorEvent) {
			tell(told, event{"what": "error", "code": code(e.Error), "message": e.Error.Error()})
		})
	}
	return subscription.Subscribe()
}

func ask(o order) (any, error) {
	client, wait := clients[o.As], context.Background()
	switch o.Do {
	case "publish":
		for _, item := range o.Items {
			if _, err := client.Publish(wait, o.Channel, item); err != nil {
				return nil, err
			}
		}
		return nil, nil
	case "presence":
		found, err := client.Presence(wait, o.Channel)
		people := event{}
		for key, info := range found.Clients {
			people[key] = person(info)
		}
		return people, err
	case "presenceStats":
		found, err := client.PresenceStats(wait, o.Channel)
		return found.NumClients, err
	case "history":
		options := []centrifuge.HistoryOption{centrifuge.WithHistoryLimit(o.Limit), centrifuge.WithHistoryReverse(o.Reverse)}
		found, err := client.History(wait, o.Channel, options...)
		publications := []event{}
		for _, pub := range found.Publications {
			publications = append(publications, publication(pub))
		}
		return event{"publications": publications, "offset": found.Offset, "epoch": found.Epoch}, err
	}
	return nil, errors.New(o.Do + " is nothing this program does")
}

func do(o order) {
	switch o.Do {
	case "connect":
		connect(o)
	case "reconnect":
		_ = clients[o.As].Connect()
	case "disconnect":
		_ = clients[o.As].Disconnect()
	case "subscribe":
		for _, channel := range o.Channels {
			if err := subscribe(o, channel); err != nil {
				tell(event{"as": o.As, "channel": channel}, event{"what": "error", "message": err.Error()})
			}
		}
	case "unsubscribe":
		for _, channel := range o.Channels {
			subscription, _ := clients[o.As].GetSubscription(channel)
			_ = subscription.Unsubscribe()
		}
	default:
		go func() {
			result, err := ask(o)
			if err != nil {
				tell(event{"number": o.Number}, event{"what": "refused", "code": code(err), "message": err.Error()})
				return
			}
			tell(event{"number": o.Number}, event{"what": "result", "result": result})
		}()
		return
	}
	if o.Number != 0 {
		tell(event{"number": o.Number}, event{"what": "result", "result": nil})
	}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			panic(err)
		}
		do(o)
	}
}
