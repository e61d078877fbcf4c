# Of llvm-cov's export: a line for each branch that was compiled, FILE LINE COLUMN PLACE TRUE FALSE. One that comes
# from a macro has the line that uses it; PLACE tells the branches of one column apart. A function that several files
# compile (one of a header) is there several times.
.data[0].files[]
| .filename as $file
| (.branches[] | [$file, .[0], .[1], "0", .[4], .[5]]),
  (.expansions[]
   | .source_region as $use
   | .branches[]
   | [$file, $use[0], $use[1], "\(.[0]):\(.[1])", .[4], .[5]])
| @tsv
