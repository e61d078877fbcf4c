/*
 * study_report.h - the numbers of study.csv and spill.csv as tables of Markdown, for people and for docs/study.md.
 */
#ifndef BENCH_STUDY_REPORT_H
#define BENCH_STUDY_REPORT_H

#include <stdio.h>

#include "bench/study/protocol/study_summary.h"

/* Each table stands between a line "<!-- study: NAME -->" and a line "<!-- end -->". Those without rows are left
 * out. */
void study_report_write(const study_table *table, const study_spill_table *spill, FILE *to);

#endif
