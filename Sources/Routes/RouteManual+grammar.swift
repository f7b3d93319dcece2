// SPDX-License-Identifier: Apache-2.0

extension RouteManual {
    /// The grammar as `Lexer`, `Parser` and Filtering's `FilterParser` read it, in ISO EBNF with `? … ?` for what is
    /// said in words. Written by hand: whoever changes one of them changes this too.
    package static let grammar = #"""
        file       = { statement | end } ;
        statement  = keyword, [ argument, { [ "," ], argument } ], [ block ], end
                   | "let", name, "=", argument, end                    (* at the top level *)
                   | "where", filter, end ;                             (* in a subscriber *)
        block      = "{", { statement | end }, "}" ;                    (* "{" on its keyword's line *)
        end        = newline | ";" | ? before "}" ? | ? the file's end ?
                   | ? before a word, behind one argument: in settings, events, smtp, limits, mail and pull ? ;

        keyword    = word ;
        argument   = word | string | call | list ;
        call       = ( "env" | "secret" | "file" ), "(", [ argument, { ",", argument }, [ "," ] ], ")" ;
        list       = "[", [ argument, { ",", argument }, [ "," ] ], "]" ;

        word       = sign, { sign } ;
        sign       = ? letter or digit of any script ? | "_" | "-" | "." | "$" | "*" | "/" | ":" | "%" | "+" | "@"
                   | "[", ? all but "]" and newline ?, "]" ;            (* not first, but in [::1]:8080 *)
        string     = '"', { character | escape }, '"' ;                 (* on one line *)
        escape     = "\", ( '"' | "\" | "n" | "t" | "u{", hex, { hex }, "}" ) ;
        comment    = "#", { ? all but newline ? } ;                     (* wherever a space may stand *)

        filter     = and, { "or", and } ;
        and        = not, { "and", not } ;
        not        = "not", not | "(", filter, ")" | predicate ;
        predicate  = "true" | "false" | path | "exists", path
                   | operand, ( "=" | "!=" | "<>" | "<" | "<=" | ">" | ">=" ), operand
                   | operand, [ "not" ], "in", "(", literal, { ",", literal }, ")"
                   | operand, [ "not" ], ( "like" | "startswith" | "endswith" | "contains" ), text
                   | path, "is", [ "not" ], kind ;
        kind       = "missing" | "null" | "string" | "number" | "boolean" | "array" | "object" ;
        operand    = path | literal | ( "lower" | "length" | "num" | "str" ), "(", path, ")" ;
        path       = attribute | "attr", ( ".", attribute | "[", text, "]" )
                   | "data", { ".", key | "[", ( digits | text | "*" ), "]" }
                   | "meta", ".", ( "topic" | "received" ) ;
        literal    = text | [ "-" ], digits, [ ".", digits ], [ "e", [ "+" | "-" ], digits ] | "true" | "false" ;
        text       = "'", { character | "''" | "\'" }, "'" | '"', { character | '""' | '\"' }, '"' ;
        attribute  = letter, { letter | digit } ;                       (* ASCII; folded to lower case *)
        key        = ( letter | "_" ), { letter | digit | "_" | "-" } ;
        """#
}
