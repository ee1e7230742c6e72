// Package report makes results into what people look at: one HTML page with plots
// that needs nothing but itself, and a comparison of two results as a table. It
// writes where it is told to and does no other I/O.
//
// The plots are drawn by uPlot 1.6.32 (MIT, folder uplot: the files of the npm
// package as they are), which stands in the page with its licence.
package report
