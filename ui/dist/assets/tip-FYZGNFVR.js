import{a}from"./chunk-3CP2Z6SY.js";import"./chunk-7RWP6AHL.js";import"./chunk-JVQAFIUV.js";export{a as Tip};
