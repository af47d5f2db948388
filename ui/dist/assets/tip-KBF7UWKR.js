import{a}from"./chunk-RST7BHUK.js";import"./chunk-OIBSAD4U.js";import"./chunk-4JWUQ7FY.js";export{a as Tip};
