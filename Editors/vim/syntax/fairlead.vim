" Vim syntax of Fairlead's routes.conf. Generated: see Editors/README.md.
if exists("b:current_syntax")
  finish
endif
syntax case match
setlocal iskeyword=@,48-57,_

syntax match fairleadStart /\%(^\|[{;]\)\s*\zs\k\+/ contains=fairleadDeclaration,fairleadKeyword
syntax keyword fairleadDeclaration contained include keep let mail retry subscriber test tls token topic
syntax keyword fairleadKeyword contained admin allow attempts backoff batch breaker certificate concurrency cpu data dead dedupe deliver directory event expect from handshake header insecure key lease limits listen memory mode on ordered password pause plugins publish pull push rate read reject replay retain run sign smtp start sync timeout ttl user was where
syntax keyword fairleadWord true false after always bad_reload binary deny earliest env every file forever http interval jitter latest max no off offset probe rollback structured time to unless unlimited unsettled yes
syntax match fairleadFunction /\<\%(env\|file\|secret\)\>\ze\s*(/
syntax match fairleadNumber /\%(^\|[ \t,(\[]\)\zs-\?\d[0-9_.]*\%(ms\|s\|m\|h\|d\|B\|KB\|MB\|GB\|TB\|KiB\|MiB\|GiB\|TiB\|%\|\/s\|\/m\|\/h\|\/d\)*\%(\d[0-9_]*\%(ms\|s\|m\|h\|d\)\)*\ze\%([ \t,;)}\]]\|$\)/
syntax region fairleadText start=/"/ skip=/\\./ end=/"/ oneline contains=fairleadEscape
syntax match fairleadEscape contained /\\\%(["\\nt]\|u{\x\+}\)/

syntax region fairleadFilter matchgroup=fairleadKeyword start=/\%(^\|[{;]\)\s*\zs\%(where\|and\|or\)\>/ end=/\ze[;{}]/ end=/$/ contains=fairleadOperator,fairleadFilterFunction,fairleadQuoted,fairleadPath,fairleadKind,fairleadNumber,fairleadComment
syntax case ignore
syntax match fairleadOperator contained /\<\%(and\|contains\|endswith\|exists\|in\|is\|like\|not\|or\|startswith\)\>/
syntax match fairleadOperator contained /[=<>!]\+/
syntax keyword fairleadKind contained true false array boolean missing null number object string
syntax match fairleadFilterFunction contained /\<\%(length\|lower\|num\|str\)\>\ze\s*(/
syntax case match
syntax match fairleadPath contained /\<\%(data\|meta\|attr\)\>\%(\.[0-9A-Za-z_-]\+\|\[[^]]*\]\)*/
syntax region fairleadQuoted contained start=/'/ skip=/''\|\\'/ end=/'/ oneline
syntax region fairleadQuoted contained start=/"/ skip=/""\|\\"/ end=/"/ oneline
syntax match fairleadComment /#.*$/

highlight default link fairleadDeclaration Structure
highlight default link fairleadKeyword Statement
highlight default link fairleadWord Constant
highlight default link fairleadFunction Function
highlight default link fairleadFilterFunction Function
highlight default link fairleadNumber Number
highlight default link fairleadText String
highlight default link fairleadQuoted String
highlight default link fairleadEscape SpecialChar
highlight default link fairleadOperator Operator
highlight default link fairleadPath Identifier
highlight default link fairleadKind Constant
highlight default link fairleadComment Comment

setlocal commentstring=#\ %s shiftwidth=2 expandtab
let b:current_syntax = "fairlead"
