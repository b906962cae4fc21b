/* fastnames_end.h - formulas mean libm's functions again. */
#undef exp
#undef log
#undef tanh
#undef erf
#undef sigmoid
#undef saturated
