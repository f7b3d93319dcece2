" A routes.conf, and what it includes by the usual name.
autocmd BufNewFile,BufRead routes.conf setlocal filetype=fairlead
autocmd BufNewFile,BufRead */conf.d/*.conf if filereadable(expand('<afile>:p:h:h') . '/routes.conf') | setlocal filetype=fairlead | endif
