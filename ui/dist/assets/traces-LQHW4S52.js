import{pa as o}from"./chunk-GMP5EMU3.js";function t(){return o("div",{class:"page"})}export{t as default};
