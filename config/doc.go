// Package config reads one YAML file strictly and remembers where every value stood, so that whoever finds a value wrong
// can say file:line:column.
//
// It knows nothing of what the settings mean. A program declares its file as Go structs, fills them with defaults, and lets
// Document.Decode write the file's values over them; the packages that own the settings judge the result, and their
// complaints go back through Document.Add. Nothing stops at the first mistake: Document.Err returns all of them, in the
// order of the file.
//
//	doc, err := config.Load("sarnic.yaml", os.LookupEnv)
//	file := defaults()
//	doc.Decode(&file)
//	for _, p := range file.Pool.Validate() {
//		doc.Add(config.Key("pool", p.Key), p.Text)
//	}
//	if err := doc.Err(); err != nil { … }
//
// Invariants:
//   - A value that came from the environment or from a secret's file is never part of an error: errors show what the file
//     says, ${PGPASSWORD}, not what it stands for.
//   - Expansion happens after parsing, so a value from outside can never change the structure of the document.
//   - Size, depth and number of nodes are bounded before memory is spent on them; an alias counts as the nodes it repeats.
//   - Only yaml.go knows which YAML library is used.
//
// Read the files in this order: document.go (the whole road), yaml.go, node.go, expand.go, decode.go, scalar.go, errors.go.
package config
