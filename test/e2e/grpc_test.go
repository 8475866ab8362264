package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"penstock.dev/penstock/internal/testkit/origin"
)

// answering is a gRPC service of all four kinds. It answers with the payload it got, once per message.
type answering struct {
	testgrpc.UnimplementedTestServiceServer
	deadlines chan time.Duration // of each unary call, as the server saw it
}

func (a *answering) UnaryCall(ctx context.Context, req *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	if md, _ := metadata.FromIncomingContext(ctx); len(md["x-echo"]) > 0 {
		_ = grpc.SetHeader(ctx, metadata.Pairs("x-initial", md["x-echo"][0]))
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trailing", md["x-echo"][0]))
	}
	if deadline, ok := ctx.Deadline(); ok {
		a.deadlines <- time.Until(deadline)
	}
	if s := req.GetResponseStatus(); s != nil {
		return nil, status.Error(codes.Code(s.Code), s.Message)
	}
	if req.GetResponseSize() < 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &testgrpc.SimpleResponse{Payload: req.GetPayload()}, nil
}

func (a *answering) StreamingInputCall(s grpc.ClientStreamingServer[testgrpc.StreamingInputCallRequest, testgrpc.StreamingInputCallResponse]) error {
	var sum int32
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return s.SendAndClose(&testgrpc.StreamingInputCallResponse{AggregatedPayloadSize: sum})
		}
		if err != nil {
			return err
		}
		sum += int32(len(m.GetPayload().GetBody()))
	}
}

func (a *answering) StreamingOutputCall(req *testgrpc.StreamingOutputCallRequest, s grpc.ServerStreamingServer[testgrpc.StreamingOutputCallResponse]) error {
	for _, p := range req.GetResponseParameters() {
		if err := s.Send(&testgrpc.StreamingOutputCallResponse{Payload: &testgrpc.Payload{Body: make([]byte, p.GetSize())}}); err != nil {
			return err
		}
	}
	return nil
}

func (a *answering) FullDuplexCall(s grpc.BidiStreamingServer[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse]) error {
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(&testgrpc.StreamingOutputCallResponse{Payload: m.GetPayload()}); err != nil {
			return err
		}
	}
}

func payload(n int) *testgrpc.Payload { return &testgrpc.Payload{Body: make([]byte, n)} }

// TestGRPCThroughTheChain: a grpc-go client in the clear to the spoke, tunnel, hub, grpc-go behind TLS.
func TestGRPCThroughTheChain(t *testing.T) {
	o := origin.Start(t, origin.HTTP2())
	service := &answering{deadlines: make(chan time.Duration, 1)}
	server := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(server, service)
	t.Cleanup(server.Stop)
	for _, method := range testgrpc.TestService_ServiceDesc.Methods {
		o.On("/grpc.testing.TestService/"+method.MethodName, server.ServeHTTP)
	}
	for _, stream := range testgrpc.TestService_ServiceDesc.Streams {
		o.On("/grpc.testing.TestService/"+stream.StreamName, server.ServeHTTP)
	}
	w := newWorld(t)
	w.write(t, "catalog/origin.yaml", originCA(o)+"---"+backend("api", o.Name(), o.Port(), ""))
	s := w.spoke(t, w.hub(t, "hub-a", ""), "east", "")

	cc, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(s.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("api"), grpc.WithDisableServiceConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	client := testgrpc.NewTestServiceClient(cc)
	as := func(ctx context.Context, caller string) context.Context {
		return metadata.AppendToOutgoingContext(ctx, "authorization", caller)
	}

	t.Run("one message each way, with metadata", func(t *testing.T) {
		var head, trail metadata.MD
		ctx := metadata.AppendToOutgoingContext(as(t.Context(), teamA), "x-echo", "said")
		m, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{Payload: payload(100_000)}, grpc.Header(&head), grpc.Trailer(&trail))
		if err != nil || len(m.GetPayload().GetBody()) != 100_000 {
			t.Fatalf("%d bytes, %v", len(m.GetPayload().GetBody()), err)
		}
		if fmt.Sprint(head["x-initial"], trail["x-trailing"]) != "[said] [said]" {
			t.Errorf("metadata %v, %v", head, trail)
		}
	})
	t.Run("a stream to the server", func(t *testing.T) {
		stream, err := client.StreamingInputCall(as(t.Context(), teamA))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 2000, 300_000} {
			if err := stream.Send(&testgrpc.StreamingInputCallRequest{Payload: payload(n)}); err != nil {
				t.Fatal(err)
			}
		}
		if m, err := stream.CloseAndRecv(); err != nil || m.GetAggregatedPayloadSize() != 302_001 {
			t.Errorf("%d bytes arrived, %v", m.GetAggregatedPayloadSize(), err)
		}
	})
	t.Run("a stream from the server", func(t *testing.T) {
		stream, err := client.StreamingOutputCall(as(t.Context(), teamA), &testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: 1}, {Size: 2000}, {Size: 300_000}}})
		if err != nil {
			t.Fatal(err)
		}
		var sizes []int
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, len(m.GetPayload().GetBody()))
		}
		if fmt.Sprint(sizes) != "[1 2000 300000]" {
			t.Errorf("messages of %v bytes", sizes)
		}
	})
	t.Run("a stream each way, message by message", func(t *testing.T) {
		stream, err := client.FullDuplexCall(as(t.Context(), teamA))
		if err != nil {
			t.Fatal(err)
		}
		for n := range 5 { // each message comes back before the next one is sent: nothing on the way may wait for more
			if err := stream.Send(&testgrpc.StreamingOutputCallRequest{Payload: payload(n)}); err != nil {
				t.Fatal(err)
			}
			if m, err := stream.Recv(); err != nil || len(m.GetPayload().GetBody()) != n {
				t.Fatalf("message %d: %v", n, err)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("the end: %v", err)
		}
	})
	t.Run("the server's own status", func(t *testing.T) {
		_, err := client.UnaryCall(as(t.Context(), teamA), &testgrpc.SimpleRequest{ResponseStatus: &testgrpc.EchoStatus{Code: int32(codes.ResourceExhausted), Message: "quota ☃\n"}})
		if s := status.Convert(err); s.Code() != codes.ResourceExhausted || s.Message() != "quota ☃\n" {
			t.Errorf("%v", err)
		}
	})
	t.Run("a method that is not there", func(t *testing.T) {
		if _, err := client.CacheableUnaryCall(as(t.Context(), teamA), &testgrpc.SimpleRequest{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("%v", err)
		}
	})
	t.Run("the deadline travels, and only shrinks", func(t *testing.T) {
		for len(service.deadlines) > 0 {
			<-service.deadlines
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := client.UnaryCall(as(ctx, teamA), &testgrpc.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
		if left := <-service.deadlines; left <= 0 || left > 20*time.Second {
			t.Errorf("the server has %v of 20s", left)
		}
	})
	t.Run("a deadline that passes", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := client.UnaryCall(as(ctx, teamA), &testgrpc.SimpleRequest{ResponseSize: -1})
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%v", err)
		}
	})
	t.Run("a refusal is a status of gRPC", func(t *testing.T) {
		_, err := client.UnaryCall(as(t.Context(), teamB), &testgrpc.SimpleRequest{})
		if status.Code(err) == codes.OK || status.Code(err) == codes.Unavailable || strings.Contains(err.Error(), "malformed") {
			t.Errorf("%v", err)
		}
	})
}
