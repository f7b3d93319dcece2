// Lua is called from CFairlead only; Swift never imports this module.
