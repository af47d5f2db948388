import{a}from"./chunk-DTWDWLPK.js";import"./chunk-RM45Z7EJ.js";import"./chunk-GLFUD3HU.js";import"./chunk-KEWKIPKX.js";export{a as LineChart};
