package wire_test

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

func TestServerMessages(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, 32)
	for name, tt := range map[string]struct {
		ours func([]byte) []byte
		msg  pgproto3.BackendMessage
	}{
		"auth ok":        {wire.AppendAuthOK, &pgproto3.AuthenticationOk{}},
		"auth cleartext": {wire.AppendAuthCleartext, &pgproto3.AuthenticationCleartextPassword{}},
		"auth md5": {
			func(b []byte) []byte { return wire.AppendAuthMD5(b, [4]byte{1, 2, 3, 4}) },
			&pgproto3.AuthenticationMD5Password{Salt: [4]byte{1, 2, 3, 4}},
		},
		"auth sasl": {
			func(b []byte) []byte { return wire.AppendAuthSASL(b, "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256") },
			&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}},
		},
		"auth sasl none": {
			func(b []byte) []byte { return wire.AppendAuthSASL(b) },
			&pgproto3.AuthenticationSASL{},
		},
		"auth sasl continue": {
			func(b []byte) []byte { return wire.AppendAuthSASLContinue(b, []byte("r=xy,s=,i=4096")) },
			&pgproto3.AuthenticationSASLContinue{Data: []byte("r=xy,s=,i=4096")},
		},
		"auth sasl final": {
			func(b []byte) []byte { return wire.AppendAuthSASLFinal(b, []byte("v=")) },
			&pgproto3.AuthenticationSASLFinal{Data: []byte("v=")},
		},
		"negotiate": {
			func(b []byte) []byte {
				return wire.AppendNegotiateProtocolVersion(b, wire.Version32, []string{"_pq_.a", "_pq_.b"})
			},
			&pgproto3.NegotiateProtocolVersion{
				NewestMinorProtocol: pgproto3.ProtocolVersion32, UnrecognizedOptions: []string{"_pq_.a", "_pq_.b"},
			},
		},
		"negotiate version only": {
			func(b []byte) []byte { return wire.AppendNegotiateProtocolVersion(b, wire.Version30, nil) },
			&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: pgproto3.ProtocolVersion30},
		},
		"ready": {func(b []byte) []byte { return wire.AppendReadyForQuery(b, 'T') }, &pgproto3.ReadyForQuery{TxStatus: 'T'}},
		"parameter status": {
			func(b []byte) []byte { return wire.AppendParameterStatus(b, "TimeZone", "Europe/Istanbul") },
			&pgproto3.ParameterStatus{Name: "TimeZone", Value: "Europe/Istanbul"},
		},
		"parameter status empty": {
			func(b []byte) []byte { return wire.AppendParameterStatus(b, "application_name", "") },
			&pgproto3.ParameterStatus{Name: "application_name"},
		},
		"key 3.0": {
			func(b []byte) []byte { return wire.AppendBackendKeyData(b, 1<<31, secret[:4]) },
			&pgproto3.BackendKeyData{ProcessID: 1 << 31, SecretKey: secret[:4]},
		},
		"key 3.2": {
			func(b []byte) []byte { return wire.AppendBackendKeyData(b, 42, secret) },
			&pgproto3.BackendKeyData{ProcessID: 42, SecretKey: secret},
		},
		"parse complete":   {wire.AppendParseComplete, &pgproto3.ParseComplete{}},
		"bind complete":    {wire.AppendBindComplete, &pgproto3.BindComplete{}},
		"close complete":   {wire.AppendCloseComplete, &pgproto3.CloseComplete{}},
		"empty query":      {wire.AppendEmptyQuery, &pgproto3.EmptyQueryResponse{}},
		"no data":          {wire.AppendNoData, &pgproto3.NoData{}},
		"copy data":        {func(b []byte) []byte { return wire.AppendCopyData(b, []byte{0, 1}) }, &pgproto3.CopyData{Data: []byte{0, 1}}},
		"copy done":        {wire.AppendCopyDone, &pgproto3.CopyDone{}},
		"command complete": {func(b []byte) []byte { return wire.AppendCommandComplete(b, "DISCARD ALL") }, &pgproto3.CommandComplete{CommandTag: []byte("DISCARD ALL")}},
		"notification": {
			func(b []byte) []byte { return wire.AppendNotification(b, 42, "channel", "payload") },
			&pgproto3.NotificationResponse{PID: 42, Channel: "channel", Payload: "payload"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			sameFrame(t, tt.ours, tt.msg)
			frame := tt.ours(nil)
			if got := theirs(t, clientReads(t, frame)); !bytes.Equal(got, frame) {
				t.Fatalf("pgproto3 read another message:\n got %q\nwant %q", got, frame)
			}
		})
	}
}
