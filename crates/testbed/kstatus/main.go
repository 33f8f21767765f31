// Command kstatus reads an object as JSON from standard input and prints what kstatus says of it.
package main

import (
	stdjson "encoding/json"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	// Kubernetes' own reader: kstatus wants whole numbers as int64.
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		return err
	}
	result, err := status.Compute(&unstructured.Unstructured{Object: object})
	if err != nil {
		return err
	}
	return stdjson.NewEncoder(os.Stdout).Encode(verdict{result.Status.String(), result.Message})
}
