/* fastnames_end.h - formulas mean libm's functions again. */
#undef exp
#undef log
#undef tanh
#undef erf
#undef expm1
#undef log1p
#undef atan
#undef tan
#undef sigmoid
#undef saturated
#undef out_of_reach
#undef alternates
