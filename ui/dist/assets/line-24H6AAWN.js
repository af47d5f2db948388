import{a}from"./chunk-CNSE2XGL.js";import"./chunk-ORYOF5F7.js";import"./chunk-7RWP6AHL.js";import"./chunk-JVQAFIUV.js";export{a as LineChart};
