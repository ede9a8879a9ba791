package wire

// state is where an answer is: what the next packet may be.
//
//	Result --OK--> Done, or Result again if there are more results
//	       --infile--> Infile --OK--> like Result
//	       --count--> Columns --last--> [ColumnsEOF] --> Rows --EOF--> like OK
//	Prepare --> [Params [ParamsEOF]] --> [Defs [DefsEOF]] --> Done
//	Fields, Rows, Events --EOF--> Done
//	OK, Text --> Done
//	Auth --OK--> Done
//
// The states ending in EOF are left out with CapDeprecateEOF. An ERR ends the
// answer in every state but behind the definitions of PREPARE: a client with
// CapDeprecateEOF holds the answer for whole there.
type state uint8

const (
	stateDone       state = iota
	stateResult           // start of a result
	stateColumns          // column definitions
	stateColumnsEOF       // the EOF behind them
	stateRows             // rows
	statePrepare          // PREPARE-OK
	stateParams           // definitions of parameters
	stateParamsEOF        // the EOF behind them
	stateDefs             // definitions of a statement's columns
	stateDefsEOF          // the EOF behind them
	stateFields           // definitions without a number before them
	stateOK               // an OK, or an EOF in its place
	stateText             // a bare string
	stateAuth             // login steps
	stateEvents           // binlog events
	stateInfile           // what became of the file
	states          = iota
)

var stateNames = [states]string{
	"after the end", "at the start of a result", "in the column definitions", "behind the column definitions", "in the rows",
	"at the start", "in the parameter definitions", "behind the parameter definitions", "in the column definitions",
	"behind the column definitions", "in the field definitions", "at the start", "at the start", "in the login", "in the events",
	"after the file",
}

// class is what a packet's first byte says.
type class uint8

const (
	classEmpty class = iota // there is none
	classZero               // 0x00
	classOne                // 0x01
	classNull               // 0xFB
	classEOF                // 0xFE, unless the frame is full: then it is a value of 16 MiB or more
	classERR                // 0xFF
	classData               // all others
	classes    = iota
)

func classOf(h Header, first byte) class {
	switch {
	case h.Len == 0:
		return classEmpty
	case first == byteOK:
		return classZero
	case first == byteMore:
		return classOne
	case first == byteInfile:
		return classNull
	case first == byteERR:
		return classERR
	case first == byteEOF && !h.Continues():
		return classEOF
	}
	return classData
}

// action is what is done with a packet.
type action uint8

const (
	actRefuse   action = iota // the answer is not understood
	actPass                   // passed on unseen, however long
	actDefine                 // the same, and counted
	actCount                  // the number of columns
	actOK                     // an OK, which ends a result
	actEOF                    // an EOF, or an OK in its place, which does
	actMetaEOF                // an EOF behind definitions
	actERR                    // an ERR, which ends the answer
	actInfile                 // the server wants a file
	actPrepared               // PREPARE-OK
	actAuth                   // the server wants or says something in a login
	actText                   // passed on unseen, and the end
)

// table is all that an answer may be.
var table = [states][classes]action{
	stateResult:     {classZero: actOK, classOne: actCount, classNull: actInfile, classERR: actERR, classData: actCount},
	stateColumns:    {classZero: actDefine, classOne: actDefine, classERR: actERR, classData: actDefine},
	stateColumnsEOF: {classEOF: actMetaEOF, classERR: actERR},
	stateRows:       {classZero: actPass, classOne: actPass, classNull: actPass, classEOF: actEOF, classERR: actERR, classData: actPass},
	statePrepare:    {classZero: actPrepared, classERR: actERR},
	stateParams:     {classZero: actDefine, classOne: actDefine, classERR: actERR, classData: actDefine},
	stateParamsEOF:  {classEOF: actMetaEOF},
	stateDefs:       {classZero: actDefine, classOne: actDefine, classERR: actERR, classData: actDefine},
	stateDefsEOF:    {classEOF: actMetaEOF},
	stateFields:     {classZero: actPass, classOne: actPass, classEOF: actEOF, classERR: actERR, classData: actPass},
	stateOK:         {classZero: actOK, classEOF: actEOF, classERR: actERR},
	stateText:       {classZero: actText, classOne: actText, classNull: actText, classEOF: actText, classERR: actERR, classData: actText},
	stateAuth:       {classZero: actOK, classOne: actAuth, classEOF: actAuth, classERR: actERR},
	stateEvents:     {classZero: actPass, classEOF: actEOF, classERR: actERR},
	stateInfile:     {classZero: actOK, classERR: actERR},
}
