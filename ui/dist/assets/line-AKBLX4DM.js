import{a}from"./chunk-BMJP7QZN.js";import"./chunk-EC3W2Z4Y.js";import"./chunk-YK26LG3B.js";import"./chunk-6F27J3DY.js";export{a as LineChart};
